package org.hearth

import org.hearth.ffi.PersonTrust
import org.hearth.ffi.VerificationInfo
import org.hearth.ffi.VerificationState
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Two people make sure of each other. */
class VerificationTest {
    @Test
    fun `seven pictures that are the same on both phones verify two people`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        here.says("Is that you?")
        there.hears("Is that you?")
        there.says("It is.")
        here.hears("It is.")
        assertEquals(PersonTrust.UNVERIFIED, ana.hearth.verifications.trust(ben.user))

        val (anas, bens) = watch(ana.hearth.verifications.items()) to watch(ben.hearth.verifications.items())
        val asked = ana.hearth.verifications.request(ben.user)
        val request = bens.until("the request") { rows -> rows.any { it.incoming } }.first { it.incoming }
        assertEquals(VerificationState.Requested, request.state)
        assertEquals(ana.user, request.user)
        ben.hearth.verifications.accept(request.id)
        anas.until("ben accepted") { it.with(asked) { state is VerificationState.Ready } }
        ana.hearth.verifications.compare(asked)
        val shown = anas.until("ana's pictures") { it.with(asked) { state is VerificationState.Emoji } }.pictures(asked)
        val seen = bens.until("ben's") { it.with(request.id) { state is VerificationState.Emoji } }.pictures(request.id)
        assertEquals(7, shown.size)
        assertEquals(shown, seen)
        ana.hearth.verifications.confirm(asked)
        ben.hearth.verifications.confirm(request.id)
        anas.until("done for ana") { it.with(asked) { state == VerificationState.Done } }
        bens.until("done for ben") { it.with(request.id) { state == VerificationState.Done } }
        eventually("ana trusts ben") { ana.hearth.verifications.trust(ben.user) == PersonTrust.VERIFIED }
        eventually("ben trusts ana") { ben.hearth.verifications.trust(ana.user) == PersonTrust.VERIFIED }
    }

    @Test
    fun `pictures that differ verify nobody, and both are told`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        here.says("Is that you?")
        there.hears("Is that you?")
        val (anas, bens) = watch(ana.hearth.verifications.items()) to watch(ben.hearth.verifications.items())
        val asked = ana.hearth.verifications.request(ben.user)
        val request = bens.until("the request") { rows -> rows.any { it.incoming } }.first { it.incoming }
        ben.hearth.verifications.accept(request.id)
        anas.until("ben accepted") { it.with(asked) { state is VerificationState.Ready } }
        ana.hearth.verifications.compare(asked)
        anas.until("ana's pictures") { it.with(asked) { state is VerificationState.Emoji } }
        bens.until("ben's pictures") { it.with(request.id) { state is VerificationState.Emoji } }
        ben.hearth.verifications.mismatch(request.id)
        anas.until("ana is told") { it.with(asked) { (state as? VerificationState.Cancelled)?.byUs == false } }
        assertTrue(ana.hearth.verifications.trust(ben.user) != PersonTrust.VERIFIED)
    }

    private fun List<VerificationInfo>.with(id: String, holds: VerificationInfo.() -> Boolean) =
        any { it.id == id && it.holds() }

    private fun List<VerificationInfo>.pictures(id: String) =
        (first { it.id == id }.state as VerificationState.Emoji).emoji
}

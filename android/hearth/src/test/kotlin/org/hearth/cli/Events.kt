/*
 * Shows one event after another and waits to be told that it was handled: for tests that kill it meanwhile.
 *
 *     out   user @ben:server      event ID invite @ana:server | message @ana:server text      handled      joined
 *     in    handled               join ROOM
 */
package org.hearth.cli

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.hearth.ffi.EventKind
import java.io.File

fun main(arguments: Array<String>) = runBlocking(Dispatchers.Default) {
    val hearth = hearthAt("ben", File(arguments.single()))
    hearth.start()
    say("user ${hearth.identity.userId}")
    val handled = Channel<Unit>(Channel.CONFLATED)
    launch {
        while (true) {
            val event = hearth.node.nextEvent() ?: break
            val what = when (val kind = event.kind) {
                is EventKind.Invited -> "invite ${kind.invite.by}"
                is EventKind.Message -> "message ${kind.sender} ${kind.text}"
            }
            say("event ${event.id} $what")
            handled.receive()
            hearth.node.eventHandled(event.id)
            say("handled")
        }
    }
    for (line in generateSequence(::readLine)) {
        if (line == "handled") handled.send(Unit)
        if (line.startsWith("join ")) {
            hearth.rooms.join(line.removePrefix("join ")).close()
            say("joined")
        }
    }
    hearth.stop()
}

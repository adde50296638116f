/*
 * What the tests are written in: phones in this process, with real nodes, real files and real sockets on the loopback
 * interface, that meet by contact URIs.
 */
package org.hearth

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.SharingStarted
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.filterNotNull
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.stateIn
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import org.hearth.ffi.ClientAccess
import org.hearth.ffi.DiscoveryMode
import org.hearth.ffi.ItemContent
import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.Platform
import org.hearth.ffi.Room
import org.hearth.ffi.RoomStanding
import org.hearth.ffi.RoomSummary
import org.hearth.ffi.Timeline
import org.hearth.ffi.TimelineItem
import java.io.File
import java.net.HttpURLConnection
import java.net.URI
import java.nio.file.Files
import java.util.concurrent.ConcurrentHashMap
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/** How long anything may take in a debug build on a machine that has other things to do. */
val PATIENCE = 60.seconds

/** A keystore that forgets with the test. */
open class MemoryKeys : Platform {
    val secrets = ConcurrentHashMap<String, ByteArray>()

    override fun keystoreGet(name: String): ByteArray? = secrets[name]

    override fun keystorePut(name: String, secret: ByteArray) {
        secrets[name] = secret
    }

    override fun keystoreDelete(name: String) {
        secrets.remove(name)
    }

    override fun freeDisk(): ULong? = null
}

/** Runs a test with phones, which are stopped and deleted at its end. */
fun phones(test: suspend Phones.() -> Unit) {
    val phones = Phones(Files.createTempDirectory("hearth-kotlin").toFile())
    try {
        runBlocking(Dispatchers.Default) { phones.test() }
    } finally {
        phones.end()
    }
}

class Phones(val folder: File) {
    val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val all = mutableListOf<Phone>()

    /** A phone that is switched off. */
    fun phone(
        name: String,
        discovery: DiscoveryMode = DiscoveryMode.PLATFORM,
        keys: Platform = MemoryKeys(),
        data: File = File(folder, name),
    ): Phone {
        val shown = name.replaceFirstChar(Char::uppercase)
        val config = NodeConfig(dataDir = data.path, account = name, displayName = shown, discovery = discovery)
        return Phone(Hearth(config, keys), data, keys, scope).also(all::add)
    }

    /** A phone that is on. */
    suspend fun started(name: String, discovery: DiscoveryMode = DiscoveryMode.PLATFORM): Phone =
        phone(name, discovery).also { it.hearth.start() }

    /** Ana and Ben, who have scanned each other's codes. */
    suspend fun anaAndBen(): Pair<Phone, Phone> {
        val (ana, ben) = started("ana") to started("ben")
        ana.knows(ben)
        ben.knows(ana)
        return ana to ben
    }

    /** What a flow said last, from now on. */
    fun <T : Any> watch(flow: Flow<T>): Watched<T> = Watched(flow.stateIn(scope, SharingStarted.Eagerly, null))

    fun end() {
        scope.cancel()
        runBlocking { all.forEach { runCatching { it.hearth.stop() } } }
        all.forEach { it.hearth.close() }
        folder.deleteRecursively()
    }
}

/** What a flow said last. */
class Watched<T : Any>(private val state: StateFlow<T?>) {
    val now: T? get() = state.value

    /** Waits until it says what is hoped for. */
    suspend fun until(hope: String, within: Duration = PATIENCE, fulfilled: (T) -> Boolean): T =
        withTimeoutOrNull(within) { state.filterNotNull().first(fulfilled) }
            ?: error("not within $within: $hope; last was $now")
}

/** One person's phone. */
class Phone(val hearth: Hearth, val data: File, val keys: Platform, scope: CoroutineScope) {
    val user: String by lazy { hearth.identity.userId }
    private val roomList = Watched(hearth.rooms.items().stateIn(scope, SharingStarted.Eagerly, null))

    /** The room list, watched since the phone was made. */
    val rooms: Watched<List<RoomSummary>> get() = roomList

    suspend fun knows(other: Phone): String = hearth.contacts.add(other.hearth.contactUri())

    /** Accepts the invite to a room as soon as it is there. */
    suspend fun accept(room: String): Room {
        rooms.until("an invite to $room") { rows -> rows.any { it.id == room && it.standing == RoomStanding.INVITED } }
        return hearth.rooms.join(room)
    }
}

/** A room of two, of which both are members, and what each sees of it. */
class Conversation(val room: Room, val timeline: Timeline, val seen: Watched<List<TimelineItem>>) {
    suspend fun says(text: String): String = timeline.send(text)

    suspend fun hears(text: String): TimelineItem =
        seen.until("\"$text\" is seen") { rows -> rows.any { it.says(text) } }.first { it.says(text) }
}

fun Phones.conversation(room: Room): Conversation = room.timeline().let { Conversation(room, it, watch(it.items())) }

/** Two who talk in an encrypted room that the first one made. */
suspend fun Phones.talk(host: Phone, guest: Phone): Pair<Conversation, Conversation> {
    val room = host.hearth.rooms.create(NewRoom(name = "Tea", invite = listOf(guest.user)))
    val (there, here) = guest.accept(room.id()) to room
    val both = conversation(here) to conversation(there)
    host.rooms.until("both are in") { rows -> rows.any { it.id == room.id() && it.members == 2UL } }
    return both
}

/** Whether it is a text that says just this. */
fun TimelineItem.says(text: String) = (content as? ItemContent.Text)?.body == text

/** The text of an item, or what it is instead. */
fun TimelineItem.text(): String = (content as? ItemContent.Text)?.body ?: content::class.simpleName.orEmpty()

/** A Matrix client that knows nothing of Hearth, and logs in with the token that the app shows it. */
class Client(private val access: ClientAccess) {
    private val token: String = run {
        val answer = ask("POST", "login", """{"type":"m.login.token","token":"${access.loginToken}"}""", null)
        Regex("\"access_token\":\"([^\"]+)\"").find(answer)?.groupValues?.get(1) ?: error("no token in $answer")
    }

    fun ask(method: String, path: String, body: String? = null): String = ask(method, path, body, token)

    private fun ask(method: String, path: String, body: String?, token: String?): String {
        val request = URI("${access.url}/_matrix/client/v3/$path").toURL().openConnection() as HttpURLConnection
        request.requestMethod = method
        token?.let { request.setRequestProperty("Authorization", "Bearer $it") }
        if (body != null) {
            request.doOutput = true
            request.outputStream.use { it.write(body.encodeToByteArray()) }
        }
        check(request.responseCode == 200) { "$method $path: ${request.errorStream?.reader()?.readText()}" }
        return request.inputStream.reader().readText()
    }
}

/** Waits until something holds that no flow tells of. */
suspend fun eventually(hope: String, within: Duration = PATIENCE, holds: suspend () -> Boolean) {
    withTimeoutOrNull(within) {
        while (!holds()) kotlinx.coroutines.delay(20)
    } ?: error("not within $within: $hope")
}

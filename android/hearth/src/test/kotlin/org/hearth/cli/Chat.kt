/*
 * A chat over standard input and output, for tests of two languages with each other. The Swift half has the same.
 *
 *     android/jvm.sh org.hearth.cli.ChatKt ana /tmp/ana
 *
 * It finds others by mDNS on the loopback interface, accepts every invite, and says what it hears:
 *
 *     out   user @ana:server                     once it runs
 *           peer SERVER                          somebody is near
 *           room ID                              it is in a room
 *           said @ben:server text                somebody else said something
 *           error text                           something that was asked for failed
 *     in    invite-to-new-room @ben:server       makes an encrypted room for two
 *           say text                             says it in the room
 */
package org.hearth.cli

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelChildren
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.filterNotNull
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.hearth.Hearth
import org.hearth.items
import org.hearth.send
import org.hearth.ffi.DiscoveryMode
import org.hearth.ffi.ItemContent
import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.NodeException
import org.hearth.ffi.Platform
import org.hearth.ffi.Room
import org.hearth.ffi.RoomStanding
import java.io.File

/** Secrets in plain files: for a test, and for nothing else. */
class PlainFiles(private val folder: File) : Platform {
    override fun keystoreGet(name: String) = File(folder, name).takeIf { it.exists() }?.readBytes()

    override fun keystorePut(name: String, secret: ByteArray) {
        folder.mkdirs()
        File(folder, name).writeBytes(secret)
    }

    override fun keystoreDelete(name: String) {
        File(folder, name).delete()
    }

    override fun freeDisk(): ULong? = null
}

fun hearthAt(name: String, folder: File): Hearth {
    val config = NodeConfig(dataDir = "$folder/data", account = name, displayName = name, discovery = DiscoveryMode.LOOPBACK)
    return Hearth(config, PlainFiles(File(folder, "keys")))
}

@Synchronized
fun say(line: String) {
    println(line)
    System.out.flush()
}

fun main(arguments: Array<String>) = runBlocking(Dispatchers.Default) {
    val (name, folder) = arguments
    val hearth = hearthAt(name, File(folder))
    hearth.start()
    say("user ${hearth.identity.userId}")
    val current = MutableStateFlow<Room?>(null)
    launch { tellPeers(hearth) }
    launch { tellRooms(hearth, current) }
    for (line in generateSequence(::readLine)) {
        val (order, rest) = line.trim().split(" ", limit = 2).let { it[0] to it.getOrElse(1) { "" } }
        try {
            when (order) {
                "invite-to-new-room" -> hearth.rooms.create(NewRoom(name = "A room of $name", invite = listOf(rest)))
                "say" -> current.filterNotNull().first().timeline().use { it.send(rest) }
                else -> say("error there is no order \"$order\"")
            }
        } catch (failure: NodeException) {
            say("error ${failure.message}")
        }
    }
    coroutineContext.cancelChildren()
    hearth.stop()
    hearth.close()
}

private suspend fun tellPeers(hearth: Hearth) {
    val told = mutableSetOf<String>()
    hearth.peers.items().collect { peers -> peers.filter { it.connected && told.add(it.id) }.forEach { say("peer ${it.id}") } }
}

private suspend fun CoroutineScope.tellRooms(hearth: Hearth, current: MutableStateFlow<Room?>) {
    val (entered, asked) = mutableSetOf<String>() to mutableSetOf<String>()
    hearth.rooms.items().collect { rows ->
        for (row in rows) when (row.standing) {
            RoomStanding.JOINED -> if (entered.add(row.id)) {
                val room = hearth.rooms.get(row.id)
                launch { tellMessages(room) }
                current.value = room
                say("room ${row.id}")
            }
            RoomStanding.INVITED -> if (asked.add(row.id)) {
                try {
                    hearth.rooms.join(row.id).close()
                } catch (failure: NodeException) {
                    say("error ${failure.message}")
                }
            }
            RoomStanding.KNOCKED -> Unit
        }
    }
}

private suspend fun tellMessages(room: Room) {
    val told = mutableSetOf<String>()
    room.timeline().items().collect { rows ->
        for (row in rows) {
            val text = row.content as? ItemContent.Text ?: continue
            if (!row.mine && told.add(row.id)) say("said ${row.sender} ${text.body}")
        }
    }
}

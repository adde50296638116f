package org.hearth

import org.hearth.ffi.PlatformException
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.io.File
import java.io.IOException
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.StandardOpenOption
import java.security.GeneralSecurityException
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/** Keys as the Android Keystore has them, without Android. */
class SoftKeyBox : KeyBox {
    val keys = mutableMapOf<String, SecretKey>()

    override fun seal(name: String, secret: ByteArray): ByteArray {
        val cipher = Cipher.getInstance("AES/GCM/NoPadding")
        cipher.init(Cipher.ENCRYPT_MODE, keys.getOrPut(name) { KeyGenerator.getInstance("AES").generateKey() })
        return cipher.iv + cipher.doFinal(secret)
    }

    override fun open(name: String, sealed: ByteArray): ByteArray {
        val key = keys[name] ?: throw GeneralSecurityException("no key")
        if (sealed.size < 28) throw GeneralSecurityException("too short")
        val cipher = Cipher.getInstance("AES/GCM/NoPadding")
        cipher.init(Cipher.DECRYPT_MODE, key, GCMParameterSpec(128, sealed, 0, 12))
        return cipher.doFinal(sealed, 12, sealed.size - 12)
    }

    override fun destroy(name: String) {
        keys.remove(name)
    }
}

/** The disk of a machine with `java.nio`. */
class JvmDisk : Disk {
    override fun sync(folder: File) = FileChannel.open(folder.toPath(), StandardOpenOption.READ).use { it.force(true) }

    override fun free(folder: File): Long? = folder.usableSpace
}

/** Where the node's secrets lie on a phone, with keys and a disk of the JVM. */
class SealedSecretsTest {
    private val folder: File = Files.createTempDirectory("hearth-secrets").toFile()
    private val keys = SoftKeyBox()
    private val secrets = SealedSecrets(File(folder, "private"), keys, JvmDisk())
    private val secret = "a secret of 32 bytes, or about so".encodeToByteArray()

    @AfterEach
    fun end() {
        folder.deleteRecursively()
    }

    @Test
    fun `a secret comes back, to another process too, and cannot be read on the disk`() {
        assertNull(secrets.keystoreGet("hearth.store-key"))
        secrets.keystorePut("hearth.store-key", secret)
        assertArrayEquals(secret, secrets.keystoreGet("hearth.store-key"))
        val another = SealedSecrets(File(folder, "private"), keys, JvmDisk())
        assertArrayEquals(secret, another.keystoreGet("hearth.store-key"))
        val onDisk = folder.walk().filter(File::isFile).toList()
        assertFalse(onDisk.any { secret.decodeToString() in it.readText(Charsets.ISO_8859_1) })
        assertEquals(1, onDisk.size)
    }

    @Test
    fun `what is there and cannot be read is an error and never nothing`() {
        secrets.keystorePut("hearth.store-key", secret)
        val file = folder.walk().first(File::isFile)
        val whole = file.readBytes()
        val changed = whole.clone().apply { this[20] = (this[20] + 1).toByte() }
        for (damaged in listOf(byteArrayOf(), whole.copyOf(whole.size - 1), changed)) {
            file.writeBytes(damaged)
            assertThrows<PlatformException.Failed> { secrets.keystoreGet("hearth.store-key") }
        }
        file.writeBytes(whole)
        keys.keys.clear()
        assertThrows<PlatformException.Failed> { secrets.keystoreGet("hearth.store-key") }
    }

    @Test
    fun `a secret that is destroyed stays so, though somebody kept the file`() {
        secrets.keystorePut("hearth.store-key", secret)
        val file = folder.walk().first(File::isFile)
        val kept = file.readBytes()
        secrets.keystoreDelete("hearth.store-key")
        secrets.keystoreDelete("hearth.store-key")
        assertNull(secrets.keystoreGet("hearth.store-key"))
        file.writeBytes(kept)
        assertThrows<PlatformException.Failed> { secrets.keystoreGet("hearth.store-key") }
    }

    @Test
    fun `one that is put again takes the place of the first, and of what a kill left`() {
        secrets.keystorePut("hearth.store-key", secret)
        File(folder, "private/hearth.store-key.new").writeText("half a secr")
        secrets.keystorePut("hearth.store-key", "another".encodeToByteArray())
        assertEquals("another", secrets.keystoreGet("hearth.store-key")?.decodeToString())
    }

    @Test
    fun `a name leads nowhere else, and a disk that fails is an error`() {
        for (name in listOf("", "../escape", "a/b", ".hidden", "A".repeat(5))) {
            assertThrows<PlatformException.Failed> { secrets.keystorePut(name, secret) }
        }
        val broken = SealedSecrets(File(folder, "private"), keys, object : Disk {
            override fun sync(folder: File) = throw IOException("the disk is gone")

            override fun free(folder: File): Long? = null
        })
        assertThrows<PlatformException.Failed> { broken.keystorePut("hearth.store-key", secret) }
        assertNull(broken.freeDisk())
    }

    @Test
    fun `a node keeps its key in it`() = phones {
        val ana = phone("ana", keys = secrets)
        ana.hearth.start()
        val before = ana.user
        ana.hearth.stop()
        val later = SealedSecrets(File(this@SealedSecretsTest.folder, "private"), keys, JvmDisk())
        val again = phone("ana", keys = later, data = ana.data)
        again.hearth.start()
        assertEquals(before, again.user)
        again.hearth.panicWipe()
        assertEquals(0, keys.keys.size)
    }
}

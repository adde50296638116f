/*
 * Where the node's secrets lie: each in a file of its own, sealed by a key that does not leave the phone's hardware.
 *
 * The file is worthless without the key and the key without the file; a secret is destroyed by destroying its key.
 * Invariant: what is there and cannot be read is an error and never "nothing", or the node would make a new secret and lock
 * itself out of its data.
 */
package org.hearth

import org.hearth.ffi.Platform
import org.hearth.ffi.PlatformException
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.security.GeneralSecurityException

/** Keys that seal and open and are never seen; the Android Keystore. */
interface KeyBox {
    /** Seals a text with the key of a name, which is made if there is none. The answer holds whatever opening it needs. */
    fun seal(name: String, secret: ByteArray): ByteArray

    /** Opens what was sealed with the key of a name. */
    fun open(name: String, sealed: ByteArray): ByteArray

    /** Destroys the key of a name, if there is one. */
    fun destroy(name: String)
}

/** The disk, as far as Java's own classes do not reach. */
interface Disk {
    /** Makes sure that what was renamed or deleted in a folder stays so when the power fails. */
    fun sync(folder: File)

    /** Bytes free for the app, if that can be told. */
    fun free(folder: File): Long?
}

/** A [Platform] that keeps secrets in sealed files of a folder which is private to the app and in no backup. */
class SealedSecrets(private val folder: File, private val keys: KeyBox, private val disk: Disk) : Platform {
    @Synchronized
    override fun keystoreGet(name: String): ByteArray? = attempt("read") {
        val file = fileOf(name)
        if (file.exists()) keys.open(name, file.readBytes()) else null
    }

    @Synchronized
    override fun keystorePut(name: String, secret: ByteArray) = attempt("keep") {
        if (!folder.isDirectory && !folder.mkdirs()) throw IOException("$folder cannot be made")
        val (file, fresh) = fileOf(name) to File(folder, "$name.new")
        FileOutputStream(fresh).use {
            it.write(keys.seal(name, secret))
            it.fd.sync()
        }
        if (!fresh.renameTo(file)) throw IOException("$fresh cannot be renamed")
        disk.sync(folder)
    }

    @Synchronized
    override fun keystoreDelete(name: String) = attempt("destroy") {
        keys.destroy(name)
        val gone = listOf(fileOf(name), File(folder, "$name.new")).filter(File::exists)
        if (!gone.all(File::delete)) throw IOException("a file of $folder cannot be deleted")
        if (gone.isNotEmpty()) disk.sync(folder)
    }

    override fun freeDisk(): ULong? = disk.free(folder)?.toULong()

    private fun fileOf(name: String): File {
        if (!NAME.matches(name)) throw IOException("`$name` is no name of a secret")
        return File(folder, name)
    }

    private fun <T> attempt(what: String, work: () -> T): T = try {
        work()
    } catch (failure: IOException) {
        throw PlatformException.Failed("could not $what a secret: $failure")
    } catch (failure: GeneralSecurityException) {
        throw PlatformException.Failed("could not $what a secret: $failure")
    }

    private companion object {
        val NAME = Regex("[a-z0-9][a-z0-9.-]{0,63}")
    }
}

package org.hearth.android

import android.os.StatFs
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import android.system.ErrnoException
import android.system.Os
import android.system.OsConstants
import org.hearth.Disk
import org.hearth.KeyBox
import java.io.File
import java.io.IOException
import java.security.GeneralSecurityException
import java.security.KeyStore
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/**
 * AES-GCM keys in the Android Keystore, one for each secret.
 *
 * They ask for no fingerprint and no unlocked screen: messages arrive while the phone lies in a pocket. What is sealed is one
 * byte for the length of the nonce, the nonce, and the sealed secret with its tag; the name is authenticated beside it.
 */
internal class AndroidKeyBox : KeyBox {
    private val store: KeyStore by lazy { KeyStore.getInstance(PROVIDER).apply { load(null) } }

    override fun seal(name: String, secret: ByteArray): ByteArray {
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.ENCRYPT_MODE, key(name) ?: make(name))
        cipher.updateAAD(name.encodeToByteArray())
        val sealed = cipher.doFinal(secret)
        return byteArrayOf(cipher.iv.size.toByte()) + cipher.iv + sealed
    }

    override fun open(name: String, sealed: ByteArray): ByteArray {
        val key = key(name) ?: throw GeneralSecurityException("the keystore has lost the key of `$name`")
        val nonceEnd = 1 + (sealed.firstOrNull() ?: throw GeneralSecurityException("the file of `$name` is empty"))
        if (nonceEnd !in 2..sealed.size) throw GeneralSecurityException("the file of `$name` is damaged")
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.DECRYPT_MODE, key, GCMParameterSpec(TAG_BITS, sealed, 1, nonceEnd - 1))
        cipher.updateAAD(name.encodeToByteArray())
        return cipher.doFinal(sealed, nonceEnd, sealed.size - nonceEnd)
    }

    override fun destroy(name: String) = store.deleteEntry(alias(name))

    private fun key(name: String): SecretKey? = store.getKey(alias(name), null) as SecretKey?

    private fun make(name: String): SecretKey {
        val purposes = KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT
        val wish = KeyGenParameterSpec.Builder(alias(name), purposes)
            .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
            .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
            .setKeySize(KEY_BITS)
            .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, PROVIDER).apply { init(wish) }.generateKey()
    }

    private fun alias(name: String) = "org.hearth.$name"

    private companion object {
        const val PROVIDER = "AndroidKeyStore"
        const val CIPHER = "AES/GCM/NoPadding"
        const val KEY_BITS = 256
        const val TAG_BITS = 128
    }
}

/** The phone's disk. */
internal class AndroidDisk : Disk {
    override fun sync(folder: File) = try {
        val open = Os.open(folder.path, OsConstants.O_RDONLY, 0)
        try {
            Os.fsync(open)
        } finally {
            Os.close(open)
        }
    } catch (failure: ErrnoException) {
        throw IOException("$folder could not be made durable", failure)
    }

    override fun free(folder: File): Long? {
        val there = generateSequence(folder) { it.parentFile }.firstOrNull { it.exists() } ?: return null
        return StatFs(there.path).availableBytes
    }
}

package org.hearth.sample

import android.Manifest
import android.content.Intent
import android.graphics.BitmapFactory
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.OpenableColumns
import androidx.activity.ComponentActivity
import androidx.activity.compose.setContent
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.compose.ui.graphics.ImageBitmap
import androidx.compose.ui.graphics.asImageBitmap
import com.journeyapps.barcodescanner.ScanContract
import com.journeyapps.barcodescanner.ScanOptions
import org.hearth.android.HearthAndroid
import org.hearth.android.HearthService
import org.hearth.sample.app.SampleApp
import org.hearth.sample.screens.Devices
import org.hearth.sample.screens.Photo
import org.hearth.sample.screens.SampleScreens
import org.hearth.sample.screens.Welcome

/** The only activity: what needs Android is here, and what a person sees is in `screens`. */
class MainActivity : ComponentActivity(), Devices {
    private val app get() = application as SampleApp
    private var host by mutableStateOf<HearthAndroid?>(null)
    private var link by mutableStateOf<String?>(null)
    private var scanned: (String) -> Unit = {}
    private var picked: (Photo) -> Unit = {}

    private val scanner = registerForActivityResult(ScanContract()) { result -> result.contents?.let { scanned(it) } }
    private val gallery = registerForActivityResult(ActivityResultContracts.PickVisualMedia()) { uri -> uri?.let(::open) }
    private val mayNotify = registerForActivityResult(ActivityResultContracts.RequestPermission()) { }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        host = app.host
        link = intent.dataString
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) mayNotify.launch(Manifest.permission.POST_NOTIFICATIONS)
        setContent {
            val host = host
            if (host == null) {
                Welcome { account, name ->
                    app.choose(account, name)
                    this.host = app.host
                }
            } else {
                SampleScreens(host.hearth, this, link) { stayOn -> keepOn(stayOn) }
            }
        }
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        link = intent.dataString
    }

    override fun onStart() {
        super.onStart()
        app.seen = true
    }

    override fun onStop() {
        app.seen = false
        super.onStop()
    }

    override fun scanCode(found: (String) -> Unit) {
        scanned = found
        scanner.launch(ScanOptions().setDesiredBarcodeFormats(ScanOptions.QR_CODE).setPrompt("A contact's code"))
    }

    override fun pickPhoto(picked: (Photo) -> Unit) {
        this.picked = picked
        gallery.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly))
    }

    override fun decode(picture: ByteArray): ImageBitmap? =
        BitmapFactory.decodeByteArray(picture, 0, picture.size)?.asImageBitmap()

    private fun open(uri: Uri) {
        // The descriptor is Hearth's from here on, which closes it when the picture was read.
        val descriptor = contentResolver.openFileDescriptor(uri, "r")?.detachFd() ?: return
        val name = contentResolver.query(uri, arrayOf(OpenableColumns.DISPLAY_NAME), null, null, null)?.use {
            if (it.moveToFirst()) it.getString(0) else null
        }
        picked(Photo(descriptor, name ?: "photo", contentResolver.getType(uri)))
    }

    private fun keepOn(stayOn: Boolean) = if (stayOn) HearthService.start(this) else HearthService.stop(this)
}

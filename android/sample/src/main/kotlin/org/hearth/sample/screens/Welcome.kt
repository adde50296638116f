package org.hearth.sample.screens

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.Button
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.dp
import java.text.Normalizer

/** Asks for the name that others see, and makes the account's out of it. */
@Composable
fun Welcome(chosen: (account: String, name: String) -> Unit) = MaterialTheme {
    var name by remember { mutableStateOf("") }
    Surface(Modifier.fillMaxSize()) {
        Column(Modifier.padding(24.dp), Arrangement.spacedBy(16.dp, Alignment.CenterVertically)) {
            Text("Hearth", style = MaterialTheme.typography.headlineLarge)
            Text("Chat with people nearby. No internet, no server and no phone number.")
            OutlinedTextField(name, { name = it }, label = { Text("Your name") }, singleLine = true)
            Button({ chosen(accountOf(name), name.trim()) }, enabled = name.isNotBlank()) { Text("Begin") }
        }
    }
}

/** What Matrix allows in a user id, of a name in any script. */
internal fun accountOf(name: String): String {
    val plain = Normalizer.normalize(name.trim().lowercase(), Normalizer.Form.NFD)
    val kept = plain.map { if (it == ' ') '_' else it }.filter { it in 'a'..'z' || it in '0'..'9' || it in "._-" }
    return kept.joinToString("").trim('_').ifEmpty { "me" }
}

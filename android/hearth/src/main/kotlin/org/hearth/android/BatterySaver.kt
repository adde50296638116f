package org.hearth.android

import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.PowerManager
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.conflate

/** Whether the phone saves its battery, at once and whenever that changes. */
internal fun batterySaver(context: Context): Flow<Boolean> = callbackFlow {
    val power = context.getSystemService(PowerManager::class.java)
    val receiver = object : BroadcastReceiver() {
        override fun onReceive(context: Context, intent: Intent) {
            trySend(power.isPowerSaveMode)
        }
    }
    // Only the system sends this one, so nobody else can be meant by it.
    context.registerReceiver(receiver, IntentFilter(PowerManager.ACTION_POWER_SAVE_MODE_CHANGED))
    trySend(power.isPowerSaveMode)
    awaitClose { context.unregisterReceiver(receiver) }
}.conflate()

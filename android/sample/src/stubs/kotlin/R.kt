/*
 * What Android's build makes out of the resources, as far as the half that Maven compiles needs it.
 */
package org.hearth.sample

@Suppress("ClassName", "ConstPropertyName")
class R {
    object drawable {
        const val ic_hearth = 0
    }
}

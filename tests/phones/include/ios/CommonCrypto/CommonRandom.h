/* All that aws-lc uses of Apple's CommonCrypto: iOS 8 and later have it. */
#include <stddef.h>
typedef int CCRNGStatus;
CCRNGStatus CCRandomGenerateBytes(void *bytes, size_t count);
enum { kCCSuccess = 0 };

/* Included by aws-lc on Android, which uses nothing of it. */

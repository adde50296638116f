#!/usr/bin/env bash
# Starts a program of the tests in a JVM of its own. `mvn -f android/pom.xml process-test-classes` must have been run.
#
#   android/jvm.sh org.hearth.cli.ChatKt ana /tmp/ana       a chat over standard input and output
#   android/jvm.sh org.hearth.cli.MeasureKt                 the figures
set -euo pipefail
here=$(realpath "$(dirname "$0")")
libraries=${HEARTH_LIBRARIES:-$here/../target/debug}
classes=$here/hearth/build/maven
exec java -Djna.library.path="$libraries" -cp "$classes/test-classes:$classes/classes:$(cat "$classes/classpath")" "$@"

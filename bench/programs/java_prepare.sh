# What the package's installation script does: the archive of the runtime's own classes.
/usr/lib/jvm/java-21-openjdk-*/bin/java -Xshare:dump > /tmp/java_prepare.log 2>&1 ||
    { cat /tmp/java_prepare.log >&2; exit 1; }

# The compiler, itself a large Java program that is young for most of this time.
mkdir -p /tmp/classes
/usr/lib/jvm/java-21-openjdk-*/bin/javac -d /tmp/classes /bench/Work.java || exit 1
cat /tmp/classes/*.class | cksum

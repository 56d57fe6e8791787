# What javac.sh has compiled.
[ -e /tmp/classes/Work.class ] || sh /bench/javac.sh > /dev/null || exit 1
exec /usr/lib/jvm/java-21-openjdk-*/bin/java -cp /tmp/classes Work

# The benchmark's own sources, optimised, to assembly.
cd /bench || exit 1
for file in control floating integer memory system; do
    gcc -O2 -S -o - $file.c || exit 1
done

# Lines of text from a binary file, sorted and counted.
export LC_ALL=C
tr -c 'a-z\n' '\n' < /bench/data | tr -s '\n' | sort | uniq -c | sort -rn

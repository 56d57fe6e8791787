# Six small programs, compiled, linked and run: several processes for each.
for number in 1 2 3 4 5 6; do
    cat > /tmp/small.c <<END
#include <stdio.h>
int main(void) { return puts("program $number") < 0; }
END
    gcc -O1 -o /tmp/small /tmp/small.c && /tmp/small || exit 1
done

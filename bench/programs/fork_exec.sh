# 300 processes of a small program.
number=0
while [ $number -lt 300 ]; do
    /usr/bin/true || exit 1
    number=$((number + 1))
done
echo $number

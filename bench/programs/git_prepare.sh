# A tree of some hundred files.
rm -rf /tmp/tree
mkdir /tmp/tree
cp -r /usr/include/linux /usr/include/asm-generic /tmp/tree/

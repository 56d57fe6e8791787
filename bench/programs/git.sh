# A repository with three commits, packed, looked through.
export HOME=/tmp GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
cd /tmp/tree || exit 1
git init -q -b main . && git add . && git commit -q -m one || exit 1
for file in linux/*.h; do echo "/* changed */" >> "$file"; done
git commit -q -a -m two || exit 1
git mv asm-generic generic && git commit -q -m three || exit 1
git gc -q 2>/dev/null || exit 1
git log --stat --format=%T -p -n 2 | cksum
git blame linux/fs.h | cksum
git fsck --full 2>/dev/null
git rev-parse 'HEAD^{tree}'

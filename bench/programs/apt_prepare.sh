# A repository of packages in a folder, as apt takes it.
cd /bench/repository || exit 1
apt-ftparchive packages . > /tmp/Packages || exit 1
mkdir -p /tmp/repository /tmp/apt/lists/partial /tmp/apt/cache/archives/partial
cp -- *.deb /tmp/Packages /tmp/repository/ || exit 1
echo 'deb [trusted=yes] file:/tmp/repository ./' > /tmp/apt/sources.list
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates
: > /var/lib/dpkg/status

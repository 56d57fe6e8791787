# Reads the repository's index, installs from it, removes again.
options='-q -o Dir::Etc::sourcelist=/tmp/apt/sources.list -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists=/tmp/apt/lists -o Dir::Cache=/tmp/apt/cache -o APT::Sandbox::User=root -o Acquire::Languages=none'
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
{
    apt-get $options update &&
        apt-get $options -y install manpages-dev
} > /tmp/apt.log 2>&1 || { cat /tmp/apt.log >&2; exit 1; }
cat /usr/share/man/man2/*.gz | cksum
dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n'

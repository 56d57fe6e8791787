mkdir -p /tmp/erlang && cd /tmp/erlang || exit 1
export HOME=/tmp
erlc -o . /bench/work.erl && exec erl -noinput -pa . -s work main -s init stop

exec /usr/bin/python3 -S /bench/work.py

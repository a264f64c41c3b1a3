tr -cs '[:alnum:]' '\n' < /data/words.txt | grep . | sort | uniq -c | sort -k1,1nr -k2 | head -3 | sed 's/^ *//' > "$1"

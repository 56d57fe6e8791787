exec node /bench/work.js

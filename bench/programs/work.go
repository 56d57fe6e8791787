// Go: goroutines, maps, slices, interfaces, strings.
package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
)

type shape interface{ area() int }
type square struct{ side int }
type box struct{ width, height int }

func (s square) area() int { return s.side * s.side }
func (b box) area() int    { return b.width * b.height }

func words(count int) map[string]int {
	counts := map[string]int{}
	state := uint32(1)
	for i := 0; i < count; i++ {
		state = state*1103515245 + 12345
		counts[string(rune(97+(state>>8)%26)) + string(rune(97+(state>>18)%26))]++
	}
	return counts
}

func main() {
	shapes := []shape{}
	for i := 0; i < 1000; i++ {
		shapes = append(shapes, square{i}, box{i, i + 1})
	}
	total := 0
	for _, shape := range shapes {
		total += shape.area()
	}
	results := make([]int, 8)
	var group sync.WaitGroup
	for i := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			results[i] = len(words(10000 * (i + 1)))
		}()
	}
	group.Wait()
	sort.Ints(results)
	fmt.Println(total, results, strings.Repeat("go", 3))
}

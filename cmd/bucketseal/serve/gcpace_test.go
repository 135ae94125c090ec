package serve

import "testing"

// A small heap grows to pacedHeap at most, a large one as Go lets it by itself.
func TestGarbageOfASmallHeapIsCollectedLessOften(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{
		0: 400, 1: 400, 4 << 20: 400, 12 << 20: 400, 16 << 20: 300, 20 << 20: 200, 32 << 20: 100, 33 << 20: 100, 1 << 30: 100, 1 << 62: 100,
	} {
		if got := growthOf(live); got != want {
			t.Errorf("%d bytes in use: %d, want %d", live, got, want)
		}
	}
	for live := uint64(1 << 16); live < 1<<33; live += live / 7 {
		if peak := live + live*uint64(growthOf(live))/100; peak > max(pacedHeap, 2*live) {
			t.Errorf("%d bytes in use grow to %d", live, peak)
		}
	}
}

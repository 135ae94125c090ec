package server

import (
	"fmt"
	"sync"
	"time"
)

// Connections that come to nothing are worth a line each, but not as many lines as
// somebody likes.
const (
	noiseWindow = time.Minute
	noiseLines  = 20
	noiseLength = 512 // of a line, in bytes
)

// noise writes what happens to connections before anybody is known, so many lines
// in a window and then their number.
type noise struct {
	write  func(text string)
	window time.Duration

	mu          sync.Mutex
	began       time.Time
	lines, more int
	timer       *time.Timer
}

func (n *noise) note(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if now.Sub(n.began) >= n.window {
		n.summarize()
		n.began, n.lines = now, 0
	}
	if n.lines < noiseLines {
		n.lines++
		n.write(cut(text, noiseLength))
		return
	}
	if n.more++; n.more == 1 {
		n.timer = time.AfterFunc(n.window-now.Sub(n.began), n.flush)
	}
}

// flush writes how many lines were left out.
func (n *noise) flush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.summarize()
}

func (n *noise) summarize() {
	if n.timer != nil {
		n.timer.Stop()
		n.timer = nil
	}
	if n.more > 0 {
		n.write(fmt.Sprintf("%d more connections failed or were refused within %v", n.more, n.window))
		n.more = 0
	}
}

func cut(text string, most int) string {
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

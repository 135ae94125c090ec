package proxycmd

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
)

// ticker says how far something is, on the standard error: on a terminal in one line that is
// drawn again, elsewhere in a line now and then. It is safe for concurrent use.
type ticker struct {
	out      io.Writer
	terminal bool
	every    time.Duration

	mu    sync.Mutex
	last  time.Time
	drawn int
}

func newTicker(a *cli.App) *ticker {
	t := &ticker{out: a.Stderr, terminal: cli.IsTerminal(a.Stderr), every: 10 * time.Second, last: time.Now()}
	if t.terminal {
		t.every = 200 * time.Millisecond
	}
	return t
}

// say shows a text, if the last one was shown a while ago.
func (t *ticker) say(text func() string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.last) < t.every {
		return
	}
	t.last = time.Now()
	line := text()
	if !t.terminal {
		fmt.Fprintln(t.out, line)
		return
	}
	fmt.Fprint(t.out, "\r", line, strings.Repeat(" ", max(t.drawn-len(line), 0)))
	t.drawn = len(line)
}

// pause takes the line away, for one of the standard output.
func (t *ticker) pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.drawn > 0 {
		fmt.Fprint(t.out, "\r", strings.Repeat(" ", t.drawn), "\r")
		t.drawn = 0
	}
}

// end takes the line away.
func (t *ticker) end() { t.pause() }

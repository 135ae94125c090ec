package server

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// watch reloads when files have changed. It asks for them again and again
// instead of being told: that also works for mounted secrets, whose links are
// exchanged above the file, and on network file systems.
func (s *Server) watch(ctx context.Context) {
	if s.opts.WatchInterval < 0 {
		return
	}
	tick := time.NewTicker(s.opts.WatchInterval)
	defer tick.Stop()
	inForce := s.fingerprint()
	failed := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.fingerprint()
		if now == inForce {
			continue
		}
		if err := s.Reload(ctx); err != nil {
			// Half-written files are normal for a moment, and are tried again.
			if text := err.Error(); text != failed {
				failed = text
				s.state.Load().errors.Error("files have changed, but cannot be used; the configuration in force stays", "reason", text)
			}
			continue
		}
		failed = ""
		// What changed while it was being read shows in the next round.
		inForce = now
	}
}

// fingerprint changes when one of the files does.
func (s *Server) fingerprint() string {
	c := s.state.Load().config.TLS
	files := append([]string{c.Cert, c.Key}, s.opts.Watch...)
	if c.CA != "" {
		if ca, err := caFiles(c.CA); err == nil {
			files = append(files, ca...)
		}
	}
	var b strings.Builder
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprintf(&b, "%s missing\n", file)
			continue
		}
		fmt.Fprintf(&b, "%s %d %d\n", file, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

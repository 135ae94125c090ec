package server

import (
	"context"

	"github.com/bucketseal/bucketseal/operator/watch"
)

// watch reloads when files have changed, until ctx ends.
func (s *Server) watch(ctx context.Context) {
	if s.opts.WatchInterval < 0 {
		return
	}
	files := watch.New(watch.Report{Failed: func(_ string, err error) {
		s.state.Load().errors.Error("files have changed, but cannot be used; the configuration in force stays", "reason", err.Error())
	}})
	files.Add("configuration", s.watched, func() error { return s.Reload(ctx) })
	files.Watch(ctx, s.opts.WatchInterval, nil)
}

// watched are the files that the configuration in force was made of.
func (s *Server) watched() []string {
	c := s.state.Load().config.TLS
	files := append([]string{c.Cert, c.Key}, s.opts.Watch...)
	if c.CA != "" {
		if ca, err := watch.FilesAt(c.CA); err == nil {
			files = append(files, ca...)
		}
	}
	return files
}

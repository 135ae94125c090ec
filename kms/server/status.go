package server

import (
	"errors"
	"net/http"
	"runtime"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

func version(s *Server, w http.ResponseWriter, _ *request) error {
	return write(w, struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
	}{s.opts.Version, s.opts.Commit})
}

func ready(s *Server, _ http.ResponseWriter, r *request) error {
	_, err := s.service.Status(r.Context())
	switch {
	case err == nil:
		return nil
	case unreachable(err):
		return errors.Join(errNotReachable, err)
	case r.Request.Context().Err() != nil:
		return err
	}
	return errors.Join(errStoreUnavailable, err)
}

// unreachable tells a store that does not answer from one that refuses us.
func unreachable(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, kms.ErrUnavailable) || (errors.As(err, &timeout) && timeout.Timeout())
}

func status(s *Server, w http.ResponseWriter, r *request) error {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	out := struct {
		Version     string        `json:"version"`
		OS          string        `json:"os"`
		Arch        string        `json:"arch"`
		UpTime      int64         `json:"uptime"` // seconds
		CPUs        int           `json:"num_cpu"`
		UsedCPUs    int           `json:"num_cpu_used"`
		Heap        uint64        `json:"mem_heap_used"`
		Stack       uint64        `json:"mem_stack_used"`
		Latency     time.Duration `json:"keystore_latency,omitempty"` // nanoseconds, as clients read it
		Unavailable bool          `json:"keystore_unavailable,omitempty"`
		Unreachable bool          `json:"keystore_unreachable,omitempty"`
	}{
		Version: s.opts.Version, OS: runtime.GOOS, Arch: runtime.GOARCH,
		UpTime: int64(s.opts.Now().Sub(s.started) / time.Second),
		CPUs:   runtime.NumCPU(), UsedCPUs: runtime.GOMAXPROCS(0),
		Heap: memory.HeapAlloc, Stack: memory.StackInuse,
	}
	state, err := s.service.Status(r.Context())
	if err != nil {
		// Clients take unreachable without unavailable for a contradiction.
		out.Unavailable, out.Unreachable = true, unreachable(err)
	} else {
		out.Latency = state.Latency
	}
	return write(w, out)
}

func listAPIs(_ *Server, w http.ResponseWriter, r *request) error {
	type api struct {
		Method  string `json:"method"`
		Path    string `json:"path"`
		MaxBody int64  `json:"max_body"`
		Timeout int64  `json:"timeout"` // seconds
	}
	out := make([]api, 0, len(r.state.routes))
	for _, route := range r.state.routes[:len(routes())] { // KES's come first
		out = append(out, api{route.method, route.path, route.maxBody, int64(route.timeout / time.Second)})
	}
	return write(w, out)
}

func showMetrics(s *Server, w http.ResponseWriter, r *request) error {
	s.metrics.handler.ServeHTTP(w, r.Request)
	return nil
}

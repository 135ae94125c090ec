package cluster

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A process that has handed over and does not end is ended with the one that took over.
func TestKillEndsWhoHandedOverToo(t *testing.T) {
	t.Parallel()
	s := newServer("proxy-1", "", filepath.Join(t.TempDir(), "log"))
	s.command = func() *exec.Cmd {
		return exec.Command("sh", "-c", `trap : TERM
			trap 'sleep 1000 & echo "the new process serves pid=$!"' USR2
			echo ready
			while :; do sleep 0.05; done`)
	}
	go s.supervise(t.Context())
	s.Start()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if said, _ := since(s.Log, 0); string(said) == "ready\n" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not start")
		}
	}
	if err := s.HandOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		s.Terminate(100 * time.Millisecond)
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("it waits for a process that nobody has told to end")
	}
}

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script supervises a shell script as a server that is ready when its log has the word "ready".
func script(t *testing.T, text string) *Server {
	t.Helper()
	s := newServer("script", "", filepath.Join(t.TempDir(), "log"))
	s.command = func() *exec.Cmd {
		cmd := exec.Command("sh", "-c", text)
		cmd.Env = environment()
		return cmd
	}
	s.ready = func(context.Context) error {
		if said, err := os.ReadFile(s.Log); err != nil || !strings.Contains(string(said), "ready") {
			return fmt.Errorf("it said %q: %w", said, err)
		}
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.supervise(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return s
}

func wait(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestServerThatEndsByItselfIsStartedAgain(t *testing.T) {
	t.Parallel()
	s := script(t, "exit 3")
	s.Start()
	for range 100 {
		if len(s.Exits()) > 1 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if exits := s.Exits(); len(exits) < 2 || !strings.Contains(exits[0], "exit status 3") {
		t.Errorf("exits: %v", exits)
	}
}

func TestServerThatIsKilledStaysDownUntilItIsStarted(t *testing.T) {
	t.Parallel()
	s := script(t, "echo ready; exec sleep 60")
	s.Start()
	wait(t, s)
	first := s.PID()
	s.Kill()
	time.Sleep(backOff + 200*time.Millisecond)
	if s.PID() != 0 {
		t.Error("it runs again though nobody started it")
	}
	s.Start()
	for range 100 {
		if s.PID() != 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if pid := s.PID(); pid == 0 || pid == first {
		t.Errorf("started again, its number is %d after %d", pid, first)
	}
	s.Terminate(5 * time.Second)
	if exits := s.Exits(); len(exits) > 0 {
		t.Errorf("ends that were asked for are told as others: %v", exits)
	}
}

func TestSuccessorIsFollowed(t *testing.T) {
	t.Parallel()
	adoptOrphans()
	s := script(t, `trap 'sleep 60 & echo "msg=\"the new process serves\" pid=$!"; sleep 1; exit 0' USR2; echo ready; while :; do sleep 0.05; done`)
	s.Start()
	wait(t, s)
	before := s.PID()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.HandOver(ctx); err != nil {
		t.Fatal(err)
	}
	after := s.PID()
	if after == before || after == 0 {
		t.Fatalf("it is still %d", before)
	}
	s.Kill()
	if err := syscall.Kill(after, 0); err == nil {
		t.Error("the successor lives on")
	}
	if exits := s.Exits(); len(exits) > 0 {
		t.Errorf("a hand-over counts as an end: %v", exits)
	}
}

func TestProgramOfANamespacesCommandIsReplaced(t *testing.T) {
	t.Parallel()
	n := &namespaces{prefix: "p"}
	cmd := n.command("proxy-1", "old", "server", "--", "x")
	replaceProgram(cmd, "new")
	if want := []string{"nsenter", "--net=/run/netns/p-proxy-1", "--", "new", "server", "--", "x"}; !reflect.DeepEqual(cmd.Args, want) {
		t.Errorf("args: %q", cmd.Args)
	}
	cmd = n.command("balancer", "old", "-f", "x")
	replaceProgram(cmd, "new")
	if want := []string{"new", "-f", "x"}; !reflect.DeepEqual(cmd.Args, want) || cmd.Path != "new" {
		t.Errorf("args: %q, path %s", cmd.Args, cmd.Path)
	}
}

// The policies are those that the product's documentation gives: with fewer rights than these it has to do.
func TestPoliciesAreThoseOfTheProduct(t *testing.T) {
	t.Parallel()
	for file, ours := range map[string]string{"bucketseal-service.json": servicePolicy, "bucketseal-clients.json": clientPolicy} {
		theirs, err := os.ReadFile(filepath.Join("..", "..", "compose", file))
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := json.Unmarshal([]byte(ours), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(theirs, &b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s is another policy", file)
		}
	}
}

func TestDrivesAreWholeWhenAllAreThereAndFilled(t *testing.T) {
	t.Parallel()
	drive := func(more string) string { return `{"state":"ok"` + more + `}` }
	answer := func(disks ...string) string {
		return `{"status":"success","HealInfo":{"sets":[{"disks":[` + strings.Join(disks, ",") + `]}]}}`
	}
	for name, tt := range map[string]struct {
		said string
		want bool
	}{
		"all":      {answer(drive(""), drive(""), drive(""), drive(`,"heal_info":{"finished":true}`)), true},
		"three":    {answer(drive(""), drive(""), drive("")), false},
		"offline":  {answer(drive(""), drive(""), drive(""), `{"state":"offline"}`), false},
		"healing":  {answer(drive(""), drive(""), drive(""), drive(`,"healing":true`)), false},
		"being":    {answer(drive(""), drive(""), drive(""), drive(`,"heal_info":{"finished":false}`)), false},
		"no JSON":  {"mc: <ERROR>", false},
		"no drive": {answer(), false},
	} {
		if got := whole(tt.said, minios); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestKeyMaterialIsWhatCanBeAKey(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("A", 43) + "="
	got := keyMaterial(`{"bytes":"` + key + `","created_by":"` + strings.Repeat("ab", 32) + `","n":1,"more":["x",{"bytes":"` + key + `"}]}`)
	if !reflect.DeepEqual(got, []string{key, key}) {
		t.Errorf("got %q", got)
	}
}

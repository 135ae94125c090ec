package fs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

func localOver(t *testing.T, dir string) *kms.Local {
	t.Helper()
	l, err := kms.NewLocal(kms.LocalOptions{Store: openTest(t, dir)})
	noErr(t, "NewLocal", err)
	t.Cleanup(l.Close)
	return l
}

func TestChangesOfAnotherInstanceCountAtOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	mine, theirs := localOver(t, dir), localOver(t, dir)
	// As fast as this a file system may give the inode, and the times, of the
	// removed file to the next one.
	for round := range 300 {
		_, err := mine.GenerateDEK(ctx, "key", nil)
		wantErr(t, fmt.Sprintf("round %d: before the creation", round), err, kms.ErrKeyNotFound)
		noErr(t, "CreateKey", theirs.CreateKey(ctx, "key"))
		dek, err := mine.GenerateDEK(ctx, "key", nil)
		noErr(t, "GenerateDEK", err)
		if got, err := theirs.DecryptDEK(ctx, "key", dek.Ciphertext, nil); err != nil || got != dek.Plaintext {
			t.Fatalf("round %d: DecryptDEK by the other instance: %v", round, err)
		}
		noErr(t, "DeleteKey", theirs.DeleteKey(ctx, "key"))
		noErr(t, "CreateKey", theirs.CreateKey(ctx, "key"))
		_, err = mine.DecryptDEK(ctx, "key", dek.Ciphertext, nil)
		wantErr(t, fmt.Sprintf("round %d: under the key in its place", round), err, kms.ErrDecrypt)
		noErr(t, "DeleteKey", theirs.DeleteKey(ctx, "key"))
		if t.Failed() {
			return
		}
	}
}

func TestStampSettles(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	noErr(t, "Create", s.Create(t.Context(), "key", []byte("v")))
	stamp := func() string {
		t.Helper()
		got, err := s.Stamp("key")
		noErr(t, "Stamp", err)
		return got
	}
	if first := stamp(); first == stamp() {
		t.Error("a file that was just made has a stamp already")
	}
	time.Sleep(settleTime + 50*time.Millisecond)
	settled := stamp()
	if settled != stamp() {
		t.Error("an old file has no stamp")
	}
	noErr(t, "Delete", s.Delete(t.Context(), "key"))
	_, err := s.Stamp("key")
	wantErr(t, "Stamp of a removed key", err, kms.ErrKeyNotFound)
	noErr(t, "Create", s.Create(t.Context(), "key", []byte("w")))
	if stamp() == settled {
		t.Error("the next file has the stamp of the one before")
	}
}

// childEnv makes this test binary a second process: "<what> <folder>".
const childEnv = "BUCKETSEAL_FS_TEST_CHILD"

// TestChild is no test but what the second process runs.
func TestChild(t *testing.T) {
	what, dir, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		t.Skip("only runs as a child of other tests")
	}
	s := openTest(t, dir)
	ctx := context.Background()
	switch what {
	case "obey": // commands from standard input, each answered with a line
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			var err error
			switch command, name, _ := strings.Cut(in.Text(), " "); command {
			case "create":
				err = s.Create(ctx, name, kms.NewKey(time.Now(), "child").MarshalRecord())
			case "delete":
				err = s.Delete(ctx, name)
			}
			fmt.Printf("child: %v\n", err)
		}
	case "write": // until killed
		for i := 0; ; i++ {
			name := fmt.Sprintf("key%d", i)
			noErr(t, "Create", s.Create(ctx, name, kms.NewKey(time.Now(), "child").MarshalRecord()))
			fmt.Printf("child: %s\n", name)
		}
	}
}

// startChild runs what in a second process; its answers come line by line.
func startChild(t *testing.T, what, dir string) (*exec.Cmd, io.WriteCloser, func() (string, bool)) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestChild$")
	c.Env = append(os.Environ(), childEnv+"="+what+" "+dir)
	in, err := c.StdinPipe()
	noErr(t, "StdinPipe", err)
	out, err := c.StdoutPipe()
	noErr(t, "StdoutPipe", err)
	noErr(t, "Start", c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	lines := bufio.NewScanner(out)
	return c, in, func() (string, bool) {
		for lines.Scan() {
			if answer, ok := strings.CutPrefix(lines.Text(), "child: "); ok {
				return answer, true
			}
		}
		return "", false
	}
}

func TestChangesOfAnotherProcessCountAtOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	l := localOver(t, dir)
	_, in, answer := startChild(t, "obey", dir)
	command := func(text string) {
		t.Helper()
		_, err := fmt.Fprintln(in, text)
		noErr(t, "command", err)
		if got, ok := answer(); !ok || got != "<nil>" {
			t.Fatalf("%s: %q", text, got)
		}
	}
	for range 20 {
		_, err := l.DescribeKey(ctx, "key")
		wantErr(t, "before", err, kms.ErrKeyNotFound)
		command("create key")
		info, err := l.DescribeKey(ctx, "key")
		if err != nil || info.CreatedBy != "child" {
			t.Fatalf("DescribeKey = %+v, %v", info, err)
		}
		wantErr(t, "CreateKey", l.CreateKey(ctx, "key"), kms.ErrKeyExists)
		command("delete key")
	}
	command("create settled")
	time.Sleep(settleTime + 50*time.Millisecond)
	for range 3 { // the second and third from the cache
		_, err := l.DescribeKey(ctx, "settled")
		noErr(t, "DescribeKey", err)
	}
	command("delete settled")
	_, err := l.DescribeKey(ctx, "settled")
	wantErr(t, "after the removal", err, kms.ErrKeyNotFound)
}

func TestKilledProcessLosesNoAcknowledgedKey(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		dir := t.TempDir()
		c, _, answer := startChild(t, "write", dir)
		var acknowledged []string
		for len(acknowledged) < 20+7*round {
			name, ok := answer()
			if !ok {
				t.Fatal("the child ended")
			}
			acknowledged = append(acknowledged, name)
		}
		noErr(t, "Kill", c.Process.Kill())
		for {
			name, ok := answer()
			if !ok {
				break
			}
			acknowledged = append(acknowledged, name)
		}
		l := localOver(t, dir)
		for _, name := range acknowledged {
			if _, err := l.DescribeKey(t.Context(), name); err != nil {
				t.Errorf("an acknowledged key: %v", err)
			}
		}
		names, err := l.ListKeys(t.Context(), "")
		noErr(t, "ListKeys", err)
		if len(names) < len(acknowledged) {
			t.Errorf("%d keys listed, %d acknowledged", len(names), len(acknowledged))
		}
		for _, name := range names {
			_, err := l.DescribeKey(t.Context(), name)
			noErr(t, "a listed key", err)
			if err := l.CreateKey(t.Context(), name); !errors.Is(err, kms.ErrKeyExists) {
				t.Errorf("CreateKey over it: %v", err)
			}
		}
		noErr(t, "CreateKey after the crash", l.CreateKey(t.Context(), fmt.Sprintf("after-%d", round)))
	}
}

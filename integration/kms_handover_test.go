package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const handedKeys = kesYAML + `keys: [ { name: my-key } ]
log:
  audit_file: { path: DIR/audit.log, max_size: 64KiB, keep: 1000 }
  audit_required: true
keystore: { fs: { path: DIR/keys, masterkey: { env: MASTER } } }
`

// useKeys has clients make and open data keys until stop is called, which says how many did and
// that none failed. Half of them make a connection for each.
func (k *kmsServer) useKeys(t *testing.T) (stop func() int64) {
	t.Helper()
	var ended atomic.Bool
	var used atomic.Int64
	var wait sync.WaitGroup
	for i := range 4 {
		c := k.clientOf(t, k.minio)
		c.http.Transport.(*http.Transport).DisableKeepAlives = i%2 == 0
		wait.Go(func() {
			for !ended.Load() {
				plain, sealed, err := c.generate("my-key", []byte("context"))
				if err == nil {
					var again []byte
					if again, err = c.decrypt("my-key", sealed, []byte("context")); err == nil && string(again) != string(plain) {
						err = fmt.Errorf("another key")
					}
				}
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				used.Add(2)
			}
		})
	}
	return func() int64 {
		ended.Store(true)
		wait.Wait()
		return used.Load()
	}
}

// A key server alone is handed over while it is used; its audit log is required, and files of it
// are replaced by size.
func TestHandOverOfAKeyServerLosesNoRequestAndNoLine(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	master := "MASTER=" + strings.Repeat("0123456789abcdef", 4)
	k := startKMS(t, handedKeys, master)
	stop := k.useKeys(t)
	pid := k.pid()
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	waitSigned(t, filepath.Join(k.dir, "audit.log"))
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		pid = handTo(t, k.process, pid)
	}
	time.Sleep(500 * time.Millisecond)
	used := stop()
	select {
	case <-k.done:
		if k.waitErr != nil {
			t.Errorf("the first process: %v", k.waitErr)
		}
	case <-time.After(60 * time.Second):
		t.Error("the first process did not end")
	}
	time.Sleep(6 * time.Second) // the second one's grace
	endNext(t, pid)
	proxy := string(writeFile(t, t.TempDir(), "bucketseal.yml", fmt.Appendf(nil, "kms: {config: %q}\n", k.config())))
	env := append([]string{master}, k.env...)
	files, err := filepath.Glob(filepath.Join(k.dir, "audit.log*"))
	if err != nil || len(files) < 5 {
		t.Errorf("no file was replaced: %v", files)
	}
	out := mustSeal(t, env, "", append([]string{"audit", "verify", "--config", proxy}, files...)...)
	if !strings.Contains(out, "in 3 chains") || strings.Count(out, "public key: ") != 1 {
		t.Errorf("audit verify says\n%s", out)
	}
	var lines []string
	for _, f := range files {
		if !strings.HasSuffix(f, ".head") {
			lines = append(lines, f)
		}
	}
	found := mustSeal(t, nil, "", append([]string{"audit", "search", "--kind", "request", "--kms-key", "my-key", "--limit", "1000000"}, lines...)...)
	if n := int64(strings.Count(found, "\n")); used == 0 || n < used {
		t.Errorf("%d uses have %d lines", used, n)
	}
	if info, err := os.Stat(filepath.Join(k.dir, "audit.log")); err != nil || info.Size() > 66<<10 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAKeyServerWithKeysInMemoryIsNotHandedOver(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	k := startKMS(t, kesYAML+"keys: [ { name: my-key } ]\nkeystore: { mem: {} }\n")
	at := k.logSize()
	if err := syscall.Kill(k.pid(), syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	waitLog(t, k.process, at, "the keys are in the memory of this process, and would be lost")
	if _, _, err := k.clientOf(t, k.minio).generate("my-key", nil); err != nil {
		t.Error(err)
	}
}

package workload

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/history"
)

func TestBytesSayWhoseTheyAre(t *testing.T) {
	b := newBook()
	whole := history.Body{{Write: 7, Len: 1000}, {Write: 9, Len: 333}, {Write: 8, Len: 50}}
	b.note(5, whole)
	data := bytesOf(whole)
	for _, cut := range [][2]int64{{0, 1383}, {1, 1382}, {990, 1100}, {1332, 1383}, {500, 501}, {0, 0}} {
		got := b.recognise(data[cut[0]:cut[1]], 5, cut[0])
		if !got.Equal(whole.Cut(cut[0], cut[1])) {
			t.Errorf("%v: %v, want %v", cut, got, whole.Cut(cut[0], cut[1]))
		}
	}
	// A copy, write 6, whose bytes are of write 5.
	if got := b.recognise(data[3:900], 6, 3); !got.Equal(whole.Cut(3, 900)) {
		t.Errorf("copy: %v", got)
	}
}

func TestMixedAndDamagedBytesAreSeen(t *testing.T) {
	b := newBook()
	one, two := history.Body{{Write: 1, Len: 640}}, history.Body{{Write: 2, Len: 640}}
	b.note(1, one)
	b.note(2, two)
	mixed := append(bytesOf(one)[:320:320], bytesOf(two)[320:]...)
	if got := b.recognise(mixed, 1, 0); len(got) != 2 || got[0].Write != 1 || got[1].Write != 2 || got.Size() != 640 {
		t.Errorf("mixed: %v", got)
	}
	damaged := bytes.Clone(bytesOf(one))
	damaged[100] ^= 1
	if got := b.recognise(damaged, 1, 0); got.Equal(one) || got.Size() != 640 {
		t.Errorf("damaged: %v", got)
	}
	// A range that is off by one package.
	if got := b.recognise(bytesOf(one)[64:], 1, 0); !got.Equal(history.Body{{Write: 1, From: 64, Len: 576}}) {
		t.Errorf("shifted: %v", got)
	}
}

// TestMinIOAlone lets the clients work on a plain MinIO: an honest store is not blamed.
func TestMinIOAlone(t *testing.T) {
	bin := os.Getenv("MINIO_BIN")
	if bin == "" {
		t.Skip("MINIO_BIN names no MinIO (make chaos-test sets it)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(bin, "server", "--quiet", "--address", address, t.TempDir())
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER=chaosroot", "MINIO_ROOT_PASSWORD=chaossecret")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 100 {
		if resp, err := http.Get("http://" + address + "/minio/health/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	seconds := 6 * time.Second
	if text := os.Getenv("CHAOS_FOR"); text != "" {
		if seconds, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create(os.Getenv("CHAOS_HISTORY"))
	if err != nil {
		file = nil
	}
	h := history.New(nil)
	if file != nil {
		h = history.New(file)
	}
	h, err = Run(context.Background(), Config{
		Targets: []Target{{Name: "minio", URL: "http://" + address, AccessKey: "chaosroot", SecretKey: "chaossecret", Region: "us-east-1"}},
		Seed:    1, Clients: 8, Duration: seconds, Dir: t.TempDir(), Logf: t.Logf, Record: h,
		Programs: map[string]string{"mc": os.Getenv("MC_BIN"), "python3": "python3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(h.Counts())
	for _, v := range checker.Check(h) {
		t.Errorf("%+v", v)
	}
	if n := h.Counts()[history.Put][history.OK]; n < 20 {
		t.Errorf("only %d writes", n)
	}
}

package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/storagetest"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// root is MinIO's credential in these tests.
var root = storage.Credential{AccessKey: "conformance-root", SecretKey: "conformance-secret-0123456789"}

// TestMinIOConforms holds a real MinIO to the contract of package storage, through this
// package.
func TestMinIOConforms(t *testing.T) {
	client := startMinIO(t)
	var number atomic.Int64
	open := func(versioned bool) storagetest.Open {
		return func(t *testing.T) (storage.Storage, string) {
			t.Helper()
			service, err := client.NewService(root, fmt.Sprint("bucket-", number.Add(1)))
			if err != nil {
				t.Fatal(err)
			}
			if versioned {
				err = service.CreateBucket(t.Context())
			} else {
				err = service.core.MakeBucket(t.Context(), service.Bucket(), minio.MakeBucketOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
			return client.Storage(root), service.Bucket()
		}
	}
	t.Run("unversioned", func(t *testing.T) { storagetest.Run(t, open(false)) })
	t.Run("versioned", func(t *testing.T) { storagetest.RunVersioned(t, open(true)) })
	t.Run("system", func(t *testing.T) {
		storagetest.RunSystem(t, func(t *testing.T) system.Objects {
			_, bucket := open(true)(t)
			service, err := client.NewService(root, bucket)
			if err != nil {
				t.Fatal(err)
			}
			return service
		})
	})
	t.Run("strangers", func(t *testing.T) { testStrangers(t, client, open(false)) })
}

// testStrangers holds that rights come before all else: who has none learns nothing.
func testStrangers(t *testing.T, client *Client, open storagetest.Open) {
	s, bucket := open(t)
	there := sse.Name{Bucket: bucket, Key: "there"}
	if _, err := s.Own(storage.Actor{}).Put(t.Context(), &storage.Put{Name: there}); err != nil {
		t.Fatal(err)
	}
	for what, actor := range map[string]storage.Actor{
		"nobody": {}, "an unknown key": {Credential: &storage.Credential{AccessKey: "unknown", SecretKey: "unknown-unknown"}},
	} {
		b := s.As(actor)
		for _, name := range []string{"there", "none"} {
			for right := storage.WriteObject; right <= storage.ListUploads; right++ {
				if err := b.May(t.Context(), &storage.Question{Right: right, Name: sse.Name{Bucket: bucket, Key: name}}); !errors.Is(err, storage.ErrForbidden) {
					t.Errorf("%s, right %d of %s: %v", what, right, name, err)
				}
			}
			if _, err := b.Head(t.Context(), &storage.Get{Name: sse.Name{Bucket: bucket, Key: name}, IfMatch: `"none"`}); !errors.Is(err, storage.ErrForbidden) {
				t.Errorf("%s, head of %s: %v", what, name, err)
			}
			if _, err := b.Put(t.Context(), &storage.Put{Name: sse.Name{Bucket: bucket, Key: name}, Conditions: storage.Conditions{IfNoneMatch: "*"}}); !errors.Is(err, storage.ErrForbidden) {
				t.Errorf("%s, put of %s: %v", what, name, err)
			}
		}
	}
	if _, err := client.Storage(root).Own(storage.Actor{}).Head(t.Context(), &storage.Get{Name: sse.Name{Bucket: bucket, Key: "none"}}); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what must not be there: %v", err)
	}
}

// startMinIO starts $MINIO_BIN on loopback, until the test ends.
func startMinIO(t *testing.T) *Client {
	t.Helper()
	program := os.Getenv("MINIO_BIN")
	if program == "" {
		t.Skip("needs a MinIO: make integration runs it, or set MINIO_BIN to the program")
	}
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "minio.log"))
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	cmd := exec.Command(program, "server", "--quiet", "--address", address, filepath.Join(dir, "data"))
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, dieWithParent()
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+root.AccessKey, "MINIO_ROOT_PASSWORD="+root.SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=on")
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The parent-death signal is tied to the thread that starts the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("MinIO's log:\n%.4000s", text)
		}
	})
	client, err := New(Options{Endpoint: &url.URL{Scheme: "http", Host: address}})
	if err != nil {
		t.Fatal(err)
	}
	waitServing(t, client, ended)
	return client
}

// waitServing waits until signed requests are served: MinIO is alive some time before it
// knows its users.
func waitServing(t *testing.T, client *Client, ended <-chan struct{}) {
	t.Helper()
	service, err := client.NewService(root, "none")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if _, err = service.CreationDates(ctx); err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("MinIO ended: %v", err)
		case <-ctx.Done():
			t.Fatalf("MinIO does not list buckets: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

package intake

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeepAliveComesBeforeTheDocument(t *testing.T) {
	t.Parallel()
	const document = xml.Header + "<CopyObjectResult></CopyObjectResult>"
	for took, want := range map[time.Duration]string{
		time.Second:      document,
		25 * time.Second: document,
		55 * time.Second: xml.Header + "   <CopyObjectResult></CopyObjectResult>",
	} {
		synctest.Test(t, func(t *testing.T) {
			recorded := httptest.NewRecorder()
			w := &Answer{ResponseWriter: recorded}
			if err := Patiently(w, func() error { time.Sleep(took); return nil }); err != nil {
				t.Fatal(err)
			}
			WriteDocument(w, http.StatusOK, "application/xml", []byte(document))
			time.Sleep(time.Minute)
			if got := recorded.Body.String(); got != want || recorded.Code != http.StatusOK {
				t.Errorf("after %v: %d %q", took, recorded.Code, got)
			}
			if took > keepAliveAfter && recorded.Header().Get("Content-Type") != "application/xml" {
				t.Errorf("after %v: %v", took, recorded.Header())
			}
		})
	}
}

// A client must not take a copy for done that failed while it was kept waiting.
func TestKeepAliveCutsWhatFails(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := &Answer{ResponseWriter: w}
		k := out.keepAlive(time.Millisecond, time.Millisecond)
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			k.mu.Lock()
			begun := out.document
			k.mu.Unlock()
			if begun {
				break
			}
		}
		k.end()
		if !out.started {
			t.Error("nothing was sent")
		}
		panic(http.ErrAbortHandler) // as Intake.Serve does for an answer that has begun
	}))
	defer server.Close()
	resp, err := http.Get(server.URL) //nolint:noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(string(body), "<?xml") {
		t.Errorf("%q, %v", body, err)
	}
}

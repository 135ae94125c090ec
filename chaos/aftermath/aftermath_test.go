package aftermath

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsAreFoundHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef0123456789abcdef"
	inBase64 := base64.StdEncoding.EncodeToString([]byte(key))
	for name, text := range map[string]string{
		"as it is":            "x=" + key,
		"hexadecimal":         "x=" + hex.EncodeToString([]byte(key)) + " y",
		"base64":              `{"key":"` + inBase64 + `"}`,
		"in a later line":     "one\ntwo " + key + "\n",
		"of its own encoding": hex.EncodeToString([]byte(inBase64)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			secret := key
			if name == "of its own encoding" {
				secret = inBase64
			}
			found, err := search(path, spell(map[string]string{"the key": secret}), true)
			if err != nil || len(found) != 1 || found[0].Kind != "secret" || strings.Contains(found[0].Detail, key) {
				t.Errorf("found %v, %v", found, err)
			}
		})
	}
}

func TestLogWithoutSecretsIsClean(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("msg=request key=0123456789abcdef code=AccessDenied\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := search(path, spell(map[string]string{"a": "0123456789abcdef0", "short": "msg"}), true)
	if err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestCrashesAreFoundInTheProductsLogsOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("msg=x\npanic: oh\npanic: again\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := search(path, nil, true)
	if err != nil || len(found) != 1 || found[0].Kind != "crash" {
		t.Errorf("found %v, %v", found, err)
	}
	if found, err = search(path, nil, false); err != nil || len(found) > 0 {
		t.Errorf("of others' logs: %v, %v", found, err)
	}
}

func TestLeaksAreWhatGrewBeyondBounds(t *testing.T) {
	t.Parallel()
	before := map[string]Held{"p": {Goroutines: 20, Descriptors: 10, Heap: 1 << 20}}
	for name, tt := range map[string]struct {
		now  Held
		want int
	}{
		"the same":    {Held{20, 10, 1 << 20}, 0},
		"a little":    {Held{20 + moreGoroutines, 10 + moreDescriptors, 1<<20 + moreHeap}, 0},
		"goroutines":  {Held{21 + moreGoroutines, 10, 1 << 20}, 1},
		"descriptors": {Held{20, 11 + moreDescriptors, 1 << 20}, 1},
		"all":         {Held{5000, 5000, 4 << 30}, 3},
	} {
		if got := compare(before, map[string]Held{"p": tt.now}); len(got) != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestHeldIsReadFromMetrics(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := "# HELP go_goroutines x\ngo_goroutines 31\nprocess_open_fds 12\n"
		if r.URL.Path == "/all" {
			text += "go_memstats_heap_inuse_bytes 1.5e+06\n"
		}
		_, _ = w.Write([]byte(text))
	}))
	defer s.Close()
	if got, err := Ask(t.Context(), s.URL+"/all"); err != nil || got != (Held{31, 12, 1500000}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Ask(t.Context(), s.URL+"/some"); err == nil {
		t.Errorf("with a value missing it is %v", got)
	}
}

func TestFindingsOfCommandsAreRead(t *testing.T) {
	t.Parallel()
	verified := `{"kind":"plain","bucket":"b"}
time=1 msg=x
{"kind":"data","bucket":"b","key":"k"}
{"kind":"orphan","name":"m"}
{"kind":"summary","wrong":2}
`
	if got := findings(verified); len(got) != 2 || !strings.HasPrefix(got[0].Detail, "data") || !strings.HasPrefix(got[1].Detail, "orphan") {
		t.Errorf("of object verify: %v", got)
	}
	decrypted := `{"bucket":"b","key":"k","status":"ok"}
{"bucket":"b","key":"l","status":"failed","error":"no manifest"}
{"ok":1,"failed":1}
`
	if got := undecrypted(decrypted); len(got) != 1 || !strings.Contains(got[0].Detail, "no manifest") {
		t.Errorf("of object decrypt: %v", got)
	}
}

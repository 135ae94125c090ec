package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/proxy/config"
)

// Whatever may be found is documented, says what to do, and is found somewhere.
func TestEveryKindIsCompleteDocumentedAndLookedFor(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && file != "kinds.go" && !strings.HasSuffix(file, "_test.go") {
			source.Write(data)
		}
	}
	seen := make(map[string]bool)
	for _, k := range Kinds() {
		if seen[k.ID] || k.Why == "" || k.Do == "" || k.Severity != Error && k.Severity != Warning {
			t.Errorf("not complete, or twice: %+v", k)
		}
		seen[k.ID] = true
		if !strings.Contains(string(page), "| `"+k.ID+"` | "+string(k.Severity)+" | ") {
			t.Errorf("docs/operations.md does not have %s as %s", k.ID, k.Severity)
		}
		if !strings.Contains(source.String(), `"`+k.ID+`"`) {
			t.Errorf("nothing looks for %s", k.ID)
		}
	}
	for _, m := range regexp.MustCompile(`find\("([^"]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if !seen[m[1]] {
			t.Errorf("%s is no kind", m[1])
		}
	}
}

func examined(t *testing.T, source string, o Options, looks ...func(context.Context, *examination)) []string {
	t.Helper()
	c, err := config.Parse("f.yml", []byte(source), nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &examination{Doctor: New(o), c: c}
	for _, look := range looks {
		look(t.Context(), e)
	}
	var ids []string
	for _, f := range e.report.Findings {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestPatternsThatFitEverythingAreTooWide(t *testing.T) {
	t.Parallel()
	for pattern, wide := range map[string]bool{"*": true, "**": true, "*-*": true, "legacy": false, "logs-*": false, "?*": true, "???": true} {
		got := examined(t, "plain_read: [\""+pattern+"\"]\n", Options{}, accessLook)
		if slices.Equal(got, []string{"access.plain-read"}) != wide {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}

// MinIO knows a client by its upstream pair. It gets no signature under the client's own secret.
func TestThePairAtMinIOIsTried(t *testing.T) {
	t.Parallel()
	const source = "credentials:\n- {access_key: one, secret_key: secret-of-one, upstream: {access_key: app, secret_key: secret-of-app}}\n- {access_key: two, secret_key: secret-of-two}\n"
	var tried []string
	known := map[string]bool{"app": true}
	o := Options{Known: func(_ context.Context, accessKey, secret string) error {
		tried = append(tried, accessKey+" "+secret)
		if known[accessKey] {
			return nil
		}
		return errors.New("refused")
	}}
	if got := examined(t, source, o, credentialsLook); !slices.Equal(got, []string{"credential.unknown"}) {
		t.Errorf("found %v", got)
	}
	if !slices.Equal(tried, []string{"app secret-of-app", "two secret-of-two"}) {
		t.Errorf("tried %v", tried)
	}
}

func TestWhatAMachineLacksIsNamed(t *testing.T) {
	t.Parallel()
	fine := Machine{Memory: 8 << 30, Files: 1 << 16}
	for want, m := range map[string]Machine{
		"":               fine,
		"machine.memory": {Memory: 128 << 20, Files: 1 << 16},
		"machine.files":  {Memory: 8 << 30, Files: 1024},
		"machine.swap":   {Memory: 8 << 30, Files: 1 << 16, Swap: true},
		"machine.core":   {Memory: 8 << 30, Files: 1 << 16, Cores: true},
	} {
		if got := strings.Join(examined(t, "", Options{Machine: func() Machine { return m }}, machineLook), ","); got != want {
			t.Errorf("%+v: %s, want %s", m, got, want)
		}
	}
}

func TestACertificateIsRenewedInTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const day = 24 * time.Hour
	for _, test := range []struct {
		life, left time.Duration
		want       bool
	}{{90 * day, 30 * day, false}, {90 * day, 13 * day, true}, {day, 12 * time.Hour, false}, {day, 7 * time.Hour, true}, {365 * day, 15 * day, false}} {
		c := &x509.Certificate{NotAfter: now.Add(test.left), NotBefore: now.Add(test.left - test.life)}
		if soon(c, now) != test.want {
			t.Errorf("%v of %v left: %v", test.left, test.life, !test.want)
		}
	}
}

func TestKeysThatAreInNoBackupAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := "data_dir: " + dir + "\n"
	if got := examined(t, source, Options{}, backupLook, filesLook); got != nil {
		t.Errorf("without keys: %v", got)
	}
	key, mark := filepath.Join(dir, "keys", "a"), filepath.Join(dir, BackupMark)
	for _, step := range []error{os.Mkdir(filepath.Dir(key), 0o700), os.WriteFile(key, []byte("x"), 0o600)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if got := examined(t, source, Options{}, backupLook); !slices.Equal(got, []string{"keys.backup"}) {
		t.Errorf("no backup: %v", got)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for after, want := range map[time.Duration][]string{-time.Hour: nil, time.Hour: {"keys.backup"}} {
		if err := os.Chtimes(key, now, now.Add(after)); err != nil {
			t.Fatal(err)
		}
		if got := examined(t, source, Options{}, backupLook); !slices.Equal(got, want) {
			t.Errorf("a key %v after the backup: %v", after, got)
		}
	}
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if got := examined(t, source, Options{}, filesLook); !slices.Equal(got, []string{"files.permissions"}) {
		t.Errorf("a key that the group may read: %v", got)
	}
}

func TestPlainHTTPToAnotherMachineIsFound(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"127.0.0.1": true, "localhost": true, "::1": true, "10.0.0.7": false, "minio": false} {
		u := url.URL{Host: host}
		if host == "::1" {
			u.Host = "[::1]:9000"
		}
		if loopback(u.Hostname()) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
	if !isCertificate(errors.Join(errors.New("x"), x509.HostnameError{Certificate: &x509.Certificate{}})) {
		t.Error("a name that does not fit is no certificate error")
	}
}

// The log has what is new and what is over, once, and the metric what the last look found.
func TestNewsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	report := &Report{Findings: []Finding{{ID: "machine.core", What: "it dumps"}}}
	known := logNew(log, nil, report)
	known = logNew(log, known, report)
	if n := strings.Count(text.String(), "it dumps"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	logNew(log, known, &Report{})
	if !strings.Contains(text.String(), "no more") {
		t.Error("its end is not logged")
	}
	d := New(Options{})
	r := prometheus.NewRegistry()
	d.Register(r)
	d.last = report
	families, err := r.Gather()
	if err != nil || len(families) != 1 || len(families[0].Metric) != len(Kinds()) {
		t.Fatalf("%v, %v", families, err)
	}
	ones := 0
	for _, m := range families[0].Metric {
		if m.Gauge.GetValue() == 1 {
			ones++
		}
	}
	if ones != 1 {
		t.Errorf("%d are 1", ones)
	}
}

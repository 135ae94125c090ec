package certs

import (
	"path/filepath"
	"testing"
	"time"
)

// Of several certificates the first to end counts, and what is read anew at once.
func TestWhenCertificatesEnd(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, "ca")
	w, _ := newWatcher()
	if server, client := w.Expires(); !server.IsZero() || !client.IsZero() {
		t.Errorf("without certificates: %v, %v", server, client)
	}
	ca.issue(t, dir, "default.example")
	ca.issue(t, filepath.Join(dir, "one"), "one.example")
	s, err := w.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Pair("own", filepath.Join(dir, publicCert), filepath.Join(dir, privateKey)); err != nil {
		t.Fatal(err)
	}
	first := s.current.Load().fallback.Leaf
	server, client := w.Expires()
	if server.After(first.NotAfter) || time.Until(server) > time.Hour || !client.Equal(first.NotAfter) {
		t.Errorf("server %v, client %v", server, client)
	}
	soon := first.NotAfter.Add(-30 * time.Minute)
	s.current.Load().byName["one.example"][0].Leaf.NotAfter = soon
	if server, client := w.Expires(); !server.Equal(soon) || client.Equal(soon) {
		t.Errorf("server %v, client %v, want %v of the server alone", server, client, soon)
	}
}

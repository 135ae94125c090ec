package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Names in a folder that is laid out as MinIO's: the default certificate lies in
// the folder itself, those of further hosts in a folder each, and authorities in
// one of their own.
const (
	publicCert = "public.crt"
	privateKey = "private.key"
	casFolder  = "CAs"
)

// place is where a certificate and its key lie.
type place struct{ cert, key string }

// Server holds a server's certificates, one of which is the default. It is safe
// for concurrent use.
type Server struct {
	places  func() ([]place, error) // the default's first
	loaded  map[place]*tls.Certificate
	current atomic.Pointer[selection]
}

// selection finds certificates by the names they bear.
type selection struct {
	fallback *tls.Certificate
	byName   map[string][]*tls.Certificate // DNS names in small letters, "*." for wildcards, and addresses
}

// Folder reads a folder of certificates and follows it: DIR/public.crt and
// DIR/private.key are the default, DIR/HOST/public.crt and private.key serve the
// names that they bear.
func (w *Watcher) Folder(dir string) (*Server, error) {
	places := func() ([]place, error) { return placesIn(dir) }
	return w.server(places)
}

// File reads one certificate and follows it.
func (w *Watcher) File(cert, key string) (*Server, error) {
	return w.server(func() ([]place, error) { return []place{{cert, key}}, nil })
}

func (w *Watcher) server(places func() ([]place, error)) (*Server, error) {
	s := &Server{places: places, loaded: make(map[place]*tls.Certificate)}
	w.holders.server = s
	return s, w.Follow("TLS certificate", s.files, func() error { return s.load(w) })
}

// placesIn lists the places of a folder. Names that begin with a dot are how
// mounted secrets keep their versions.
func placesIn(dir string) ([]place, error) {
	places := []place{{filepath.Join(dir, publicCert), filepath.Join(dir, privateKey)}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return places, fmt.Errorf("TLS certificates: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == casFolder {
			continue
		}
		p := place{filepath.Join(dir, e.Name(), publicCert), filepath.Join(dir, e.Name(), privateKey)}
		if exists(p.cert) || exists(p.key) {
			places = append(places, p)
		}
	}
	return places, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func (s *Server) files() []string {
	places, _ := s.places() // load says what is wrong
	var files []string
	for _, p := range places {
		files = append(files, p.cert, p.key)
	}
	return files
}

// load reads every place. One that cannot be used keeps what it had, the others
// are taken up all the same. The default cannot go away, the others can.
func (s *Server) load(w *Watcher) error {
	places, err := s.places()
	if err != nil {
		return err
	}
	next := make(map[place]*tls.Certificate, len(places))
	var failed []error
	for _, p := range places {
		pair, err := loadPair(p.cert, p.key)
		if err != nil {
			failed = append(failed, err)
			if pair = s.loaded[p]; pair == nil {
				continue
			}
		}
		w.warnValidity("TLS certificate "+p.cert, pair)
		next[p] = pair
	}
	if next[places[0]] == nil {
		return errors.Join(failed...) // at the start: nothing could be served
	}
	s.loaded = next
	s.current.Store(newSelection(places, next))
	return errors.Join(failed...)
}

func newSelection(places []place, loaded map[place]*tls.Certificate) *selection {
	s := &selection{fallback: loaded[places[0]], byName: make(map[string][]*tls.Certificate)}
	for _, p := range places {
		pair := loaded[p]
		if pair == nil {
			continue
		}
		for _, name := range pair.Leaf.DNSNames {
			name = strings.ToLower(name)
			s.byName[name] = append(s.byName[name], pair)
		}
		for _, ip := range pair.Leaf.IPAddresses {
			s.byName[ip.String()] = append(s.byName[ip.String()], pair)
		}
	}
	return s
}

// Get implements tls.Config.GetCertificate: the certificate that bears the name
// the client asks for, or the address it came to; of several, one that the
// client can use. The default serves everybody else.
func (s *Server) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	all := s.current.Load()
	fitting := all.named(hello)
	for _, pair := range fitting {
		if hello.SupportsCertificate(pair) == nil {
			return pair, nil
		}
	}
	if len(fitting) > 0 {
		return fitting[0], nil
	}
	return all.fallback, nil
}

func (s *selection) named(hello *tls.ClientHelloInfo) []*tls.Certificate {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" { // clients name no addresses
		if hello.Conn == nil {
			return nil
		}
		host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
		if err != nil {
			return nil
		}
		return s.byName[host]
	}
	if fitting := s.byName[name]; len(fitting) > 0 {
		return fitting
	}
	if _, rest, ok := strings.Cut(name, "."); ok { // a wildcard stands for one label
		return s.byName["*."+rest]
	}
	return nil
}

// warnValidity says that a certificate is not valid now: the clock may be wrong,
// and old clients may not mind.
func (w *Watcher) warnValidity(what string, pair *tls.Certificate) {
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		w.log.Warn("the "+what+" is not valid now", "from", pair.Leaf.NotBefore, "to", pair.Leaf.NotAfter)
	}
}

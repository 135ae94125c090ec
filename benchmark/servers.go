package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// masterKey is the KMS key of the MinIO that encrypts by itself.
const masterKey = "bucketseal-default:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// server is one that requests are sent to.
type server struct {
	name string
	// addr is where S3 is served, secure how to trust it, nil for plain HTTP.
	addr   string
	secure *tls.Config
	// metrics is where a bucketseal tells its numbers, HOST:PORT.
	metrics string
	// start starts it again, at the same address.
	start func(ctx context.Context) (*process, error)
	*process
}

// restart ends the server and starts it anew.
func (s *server) restart(ctx context.Context) error {
	s.stop()
	p, err := s.start(ctx)
	if err != nil {
		return err
	}
	s.process = p
	return nil
}

// lab starts servers, each with a folder of its own.
type lab struct {
	dir                   string
	minioBin, sealBin, me string
	// certs is set where servers speak TLS.
	certs *certificates
	// profiling has each bucketseal tell its profiles.
	profiling bool
	servers   []*server
}

func newLab(dir string) (*lab, error) {
	l := &lab{dir: dir}
	for variable, program := range map[string]*string{"MINIO_BIN": &l.minioBin, "BUCKETSEAL_BIN": &l.sealBin} {
		path, err := filepath.Abs(os.Getenv(variable))
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return nil, fmt.Errorf("%s must name the program (`make bench` sets it)", variable)
		}
		*program = path
	}
	var err error
	if l.me, err = os.Executable(); err != nil {
		return nil, err
	}
	l.certs, err = newCertificates(filepath.Join(dir, "certs"))
	return l, err
}

// close stops all servers, the last one first.
func (l *lab) close() {
	for i := len(l.servers) - 1; i >= 0; i-- {
		l.servers[i].stop()
	}
	l.servers = nil
}

// add starts a server at a free address.
func (l *lab) add(ctx context.Context, name string, secure bool, start func(ctx context.Context, s *server) (*process, error)) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{name: name, addr: addr}
	if secure {
		s.secure = l.certs.client
	}
	s.start = func(ctx context.Context) (*process, error) { return start(ctx, s) }
	if s.process, err = s.start(ctx); err != nil {
		return nil, err
	}
	l.servers = append(l.servers, s)
	return s, nil
}

// minio starts a MinIO, one that encrypts by itself if kms is set.
func (l *lab) minio(ctx context.Context, name string, kms, secure bool) (*server, error) {
	data := filepath.Join(l.dir, name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	env := []string{"MINIO_ROOT_USER=" + accessKey, "MINIO_ROOT_PASSWORD=" + secretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=on"}
	if kms {
		env = append(env, "MINIO_KMS_SECRET_KEY="+masterKey)
	}
	return l.add(ctx, name, secure, func(ctx context.Context, s *server) (*process, error) {
		args := []string{"server", "--quiet", "--address", s.addr}
		if secure {
			args = append(args, "--certs-dir", l.certs.dir)
		}
		return l.launch(ctx, s, "/", env, l.minioBin, append(args, data)...)
	})
}

// proxy starts the plain reverse proxy in front of upstream.
func (l *lab) proxy(ctx context.Context, name, upstream string, secure bool) (*server, error) {
	return l.add(ctx, name, secure, func(ctx context.Context, s *server) (*process, error) {
		args := []string{"proxy", "-listen", s.addr, "-upstream", upstream}
		if secure {
			args = append(args, "-cert", l.certs.cert, "-key", l.certs.key)
		}
		return l.launch(ctx, s, "/minio/health/live", nil, l.me, args...)
	})
}

// seal starts a bucketseal in front of upstream, with its key service embedded.
// All share one key store, as proxies over one MinIO must. settings are lines of
// its configuration.
func (l *lab) seal(ctx context.Context, name, program, upstream string, secure bool, settings string) (*server, error) {
	metrics, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if l.profiling {
		metrics += ", profiling: true"
	}
	settings = strings.ReplaceAll(settings, "AUDIT", filepath.Join(l.dir, name+".audit"))
	if secure {
		settings += fmt.Sprintf("\ntls: {cert: %s, key: %s}", l.certs.cert, l.certs.key)
	}
	file := filepath.Join(l.dir, name+".yml")
	if err := os.WriteFile(file, []byte("metrics: {address: "+metrics+"}\n"+settings+"\n"), 0o600); err != nil {
		return nil, err
	}
	env := []string{"BUCKETSEAL_ROOT_USER=" + accessKey, "BUCKETSEAL_ROOT_PASSWORD=" + secretKey}
	s, err := l.add(ctx, name, secure, func(ctx context.Context, s *server) (*process, error) {
		return l.launch(ctx, s, "/minio/health/ready", env, program, "server", "--config", file,
			"--address", s.addr, "--upstream", "http://"+upstream, "--data-dir", filepath.Join(l.dir, "keys"))
	})
	if err == nil {
		s.metrics, _, _ = strings.Cut(metrics, ",")
	}
	return s, err
}

// launch starts a program and waits until it answers 200 for path.
func (l *lab) launch(ctx context.Context, s *server, path string, env []string, program string, args ...string) (*process, error) {
	p, err := startProcess(s.name, filepath.Join(l.dir, s.name+".log"), env, program, args...)
	if err != nil {
		return nil, err
	}
	if err := p.wait(ctx, func() error { return s.answers(ctx, path) }); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// answers says whether the server answers 200 for path.
func (s *server) answers(ctx context.Context, path string) error {
	c, err := dial(ctx, s.addr, s.secure)
	if err != nil {
		return err
	}
	defer c.Close()
	_, _, err = c.do(&request{head: signedHead(time.Now(), "GET", s.addr, path, "", -1), want: 200, length: -1})
	return err
}

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Moto, a mock of AWS written by others, keeps everything in memory: one of it
// serves all tests, each in a region of its own, and dies with them.

var errNoMoto = errors.New("moto with its server is not installed (pip install 'moto[server]')")

var startMoto = sync.OnceValues(func() (addr string, err error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", errNoMoto
	}
	env := baseEnv("PYENV_ROOT="+os.Getenv("PYENV_ROOT"), "PYENV_VERSION="+os.Getenv("PYENV_VERSION"))
	check := exec.Command(python, "-c", "import moto.server")
	check.Env = env
	if check.Run() != nil {
		return "", errNoMoto
	}
	if addr, err = freeAddress(); err != nil {
		return "", err
	}
	host, port, _ := net.SplitHostPort(addr)
	p, err := startProcess("moto", filepath.Join(runDir, "moto.log"), env, python, "-m", "moto.server", "-H", host, "-p", port)
	if err != nil {
		return "", err
	}
	return addr, p.waitReady(http.DefaultClient, "http://"+addr+"/moto-api/data.json")
})

// moto returns the mock's address, or skips the test where there is none.
func moto(t *testing.T) string {
	t.Helper()
	addr, err := startMoto()
	if errors.Is(err, errNoMoto) {
		t.Skip("skipped:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// motoCall calls an AWS API of the mock, which does not verify signatures.
func motoCall(t *testing.T, addr, region, target string, in, out any) int {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	service := "secretsmanager"
	if strings.HasPrefix(target, "Trent") {
		service = "kms"
	}
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=AK/%s/%s/%s/aws4_request, SignedHeaders=host, Signature=0",
		time.Now().UTC().Format("20060102"), region, service))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK && out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			t.Fatalf("%s: %v in %s", target, err, data)
		}
	}
	return resp.StatusCode
}

// motoKey creates an AWS KMS key and returns its ARN.
func motoKey(t *testing.T, addr, region string) string {
	t.Helper()
	var out struct{ KeyMetadata struct{ Arn string } }
	if status := motoCall(t, addr, region, "TrentService.CreateKey", map[string]string{}, &out); status != http.StatusOK || out.KeyMetadata.Arn == "" {
		t.Fatalf("CreateKey: %d", status)
	}
	return out.KeyMetadata.Arn
}

// secret is what Secrets Manager says of a secret.
type secret struct {
	Name, SecretString, KmsKeyId string
	DeletedDate                  float64
}

// motoSecret reads a secret past the key server; ok is false if there is none.
func motoSecret(t *testing.T, addr, region, name string) (s secret, ok bool) {
	t.Helper()
	in := map[string]string{"SecretId": name}
	if motoCall(t, addr, region, "secretsmanager.DescribeSecret", in, &s) != http.StatusOK {
		return s, false
	}
	motoCall(t, addr, region, "secretsmanager.GetSecretValue", in, &s)
	return s, true
}

// secretsStore is a keystore section for the mock; more are further settings.
func secretsStore(endpoint, region string, more ...string) string {
	settings := append([]string{"endpoint: " + endpoint, "region: " + region, "credentials: {accesskey: AK, secretkey: SK}"}, more...)
	return "keystore:\n  aws:\n    secretsmanager:\n      " + strings.Join(settings, "\n      ") + "\n"
}

// gate is a TCP relay that can be shut, as a network or a service fails.
type gate struct {
	target   string
	addr     string
	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
}

func newGate(t *testing.T, target string) *gate {
	t.Helper()
	g := &gate{target: target, conns: map[net.Conn]bool{}}
	if err := g.open("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.shut)
	return g
}

func (g *gate) open(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.listener, g.addr = l, l.Addr().String()
	g.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.relay(c)
		}
	}()
	return nil
}

// reopen lets connections through again.
func (g *gate) reopen(t *testing.T) {
	t.Helper()
	if err := g.open(g.addr); err != nil {
		t.Fatal(err)
	}
}

// shut refuses connections and breaks those there are.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.listener.Close()
	for c := range g.conns {
		_ = c.Close()
	}
}

func (g *gate) relay(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer up.Close()
	g.mu.Lock()
	g.conns[c] = true
	g.mu.Unlock()
	defer func() { g.mu.Lock(); delete(g.conns, c); g.mu.Unlock() }()
	go func() { _, _ = io.Copy(up, c); _ = up.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(c, up)
}

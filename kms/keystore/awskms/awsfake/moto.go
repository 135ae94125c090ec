package awsfake

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// motoStart is how long moto may take until it answers.
const motoStart = 60 * time.Second

// StartMoto runs moto, a mock of AWS written by others, until the test ends and
// returns its endpoint. The test is skipped where python3 or moto is missing.
func StartMoto(t testing.TB) string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("skipped: python3 is not installed, so moto (https://docs.getmoto.org) cannot run")
	}
	if out, err := exec.Command(python, "-c", "import moto.server").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("skipped: moto with its server is not installed (pip install 'moto[server]'): %s", lines[len(lines)-1])
	}
	addr := freeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd := exec.Command(python, "-m", "moto.server", "-H", host, "-p", port)
	cmd.Stdout, cmd.Stderr = &output, &output
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "AWS_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start moto: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended already
		<-ended                //nolint:errcheck // killed: its exit code says nothing
	})
	waitForMoto(t, "http://"+addr, ended, &output)
	return "http://" + addr
}

func waitForMoto(t testing.TB, url string, ended chan error, output *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), motoStart)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/moto-api/data.json", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("moto ended: %v\n%s", err, output.String())
		case <-ctx.Done():
			t.Fatalf("moto does not answer on %s within %v", url, motoStart)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

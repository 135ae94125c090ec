package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// network gives servers their addresses, starts programs there, and cuts servers off from each other.
type network interface {
	// host is the address of a server. It is the same at each call.
	host(name string) (string, error)
	// command runs a program where the server of that name is.
	command(name, program string, args ...string) *exec.Cmd
	// drop loses this share of the packets from one server to another; 0 heals.
	drop(from, to string, share float64) error
	// cuts says whether drop can do anything.
	cuts() bool
	close() error
}

// processes is a network of plain processes on loopback.
type processes struct{ machine string }

// newProcesses finds the machine's own address where MinIO, which refuses loopback in a container, needs it.
func newProcesses() (*processes, error) {
	p := &processes{machine: "127.0.0.1"}
	if !contained() {
		return p, nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			p.machine = n.IP.String()
			return p, nil
		}
	}
	return nil, errors.New("in a container a distributed MinIO needs an address other than loopback, and this one has none")
}

// contained tells whether MinIO takes this machine for a container.
func contained() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

func (p *processes) host(name string) (string, error) {
	if strings.HasPrefix(name, "minio") {
		return p.machine, nil
	}
	return "127.0.0.1", nil
}

func (p *processes) command(_, program string, args ...string) *exec.Cmd {
	return exec.Command(program, args...)
}

func (p *processes) drop(string, string, float64) error {
	return errors.New("processes on one loopback cannot be cut off from each other")
}
func (p *processes) cuts() bool   { return false }
func (p *processes) close() error { return nil }

// namespaces gives each server a network of its own, all on one bridge: what containers would have.
type namespaces struct {
	prefix string // of the names of everything that is made
	subnet string // the first three bytes

	mu    sync.Mutex
	hosts map[string]string
}

// newNamespaces makes the bridge. The networks come with their servers.
func newNamespaces() (*namespaces, error) {
	n := &namespaces{prefix: fmt.Sprintf("cx%d", os.Getpid()%100000), hosts: map[string]string{}}
	// 198.18.0.0/15 is for such tests (RFC 2544).
	n.subnet = fmt.Sprintf("198.%d.%d", 18+os.Getpid()>>8&1, os.Getpid()&0xff)
	err := run("ip", "link", "add", n.prefix, "type", "bridge")
	if err == nil {
		err = run("ip", "addr", "add", n.subnet+".1/24", "dev", n.prefix)
	}
	if err == nil {
		err = run("ip", "link", "set", n.prefix, "up")
	}
	if err == nil {
		err = n.forward("-I")
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// forward lets packets pass from server to server on the bridge, which an engine for containers forbids, where
// there is iptables; and with -D no more.
func (n *namespaces) forward(how string) error {
	if _, err := exec.LookPath("iptables"); err != nil {
		return err // without it nothing can be cut off either
	}
	return run("iptables", "-w", how, "FORWARD", "-i", n.prefix, "-o", n.prefix, "-j", "ACCEPT")
}

func run(program string, args ...string) error {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// outside are servers that run beside the networks, on the bridge itself.
func outside(name string) bool {
	return name == "" || name == "balancer" || name == "store" || name == "front"
}

func (n *namespaces) host(name string) (string, error) {
	if outside(name) {
		return n.subnet + ".1", nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if host, ok := n.hosts[name]; ok {
		return host, nil
	}
	number := len(n.hosts)
	host := fmt.Sprintf("%s.%d", n.subnet, 11+number)
	space, ours, theirs := n.space(name), fmt.Sprintf("%sh%d", n.prefix, number), fmt.Sprintf("%sc%d", n.prefix, number)
	n.hosts[name] = host
	for _, args := range [][]string{
		{"netns", "add", space},
		{"link", "add", ours, "type", "veth", "peer", "name", theirs},
		{"link", "set", theirs, "netns", space},
		{"link", "set", ours, "master", n.prefix, "up"},
		{"-n", space, "addr", "add", host + "/24", "dev", theirs},
		{"-n", space, "link", "set", theirs, "up"},
		{"-n", space, "link", "set", "lo", "up"},
	} {
		if err := run("ip", args...); err != nil {
			return "", err
		}
	}
	return host, nil
}

func (n *namespaces) space(name string) string { return n.prefix + "-" + name }

func (n *namespaces) command(name, program string, args ...string) *exec.Cmd {
	if outside(name) {
		return exec.Command(program, args...)
	}
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + n.space(name), "--", program}, args...)...)
}

// replaceProgram puts another program in the place of the one that a command of a network runs.
func replaceProgram(cmd *exec.Cmd, program string) {
	for i, arg := range cmd.Args {
		if arg == "--" && i == 2 {
			cmd.Args[i+1] = program
			return
		}
	}
	cmd.Path, cmd.Args[0] = program, program
}

func (n *namespaces) drop(from, to string, share float64) error {
	source, err := n.host(from)
	if err != nil {
		return err
	}
	iptables := []string{"netns", "exec", n.space(to), "iptables", "-w"}
	// A rule of before has another share.
	for {
		out, err := exec.Command("ip", append(iptables, "-S", "INPUT")...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("iptables of %s: %w: %s", to, err, out)
		}
		rule := ""
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "-s "+source+"/32") {
				rule = strings.TrimSpace(strings.Replace(line, "-A", "-D", 1))
			}
		}
		if rule == "" {
			break
		}
		if err := run("ip", append(iptables, strings.Fields(rule)...)...); err != nil {
			return err
		}
	}
	if share == 0 {
		return nil
	}
	add := append(iptables, "-A", "INPUT", "-s", source)
	if share < 1 {
		add = append(add, "-m", "statistic", "--mode", "random", "--probability", fmt.Sprintf("%.4f", share))
	}
	return run("ip", append(add, "-j", "DROP")...)
}

func (n *namespaces) cuts() bool { return true }

func (n *namespaces) close() error {
	errs := []error{n.forward("-D")}
	for name := range n.hosts {
		errs = append(errs, run("ip", "netns", "del", n.space(name)))
	}
	return errors.Join(append(errs, run("ip", "link", "del", n.prefix))...)
}

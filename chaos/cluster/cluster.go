// Package cluster runs what is tested: a distributed MinIO of four servers, three proxies with state of
// their own, two key servers on one store, and a balancer. Whatever can be cut between them
// goes over a link of package link, or through a network of its own.
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/bucketseal/bucketseal/chaos/link"
	"github.com/bucketseal/bucketseal/chaos/secretstore"
)

// How many servers there are.
const (
	minios     = 4
	proxies    = 3
	keyServers = 2
)

// Worlds.
const (
	Processes  = "processes"  // plain processes on loopback; needs no rights
	Namespaces = "namespaces" // each server with a network and a drive of its own; needs root
)

// Names of users at MinIO. Client is who the tests sign as.
const (
	rootUser    = "chaos-root"
	serviceUser = "chaos-service"
	Client      = "chaos-client"
	Region      = "us-east-1"
)

// Sizes of a small cluster.
const (
	fewMinios     = 1
	fewProxies    = 2
	fewKeyServers = 1
)

func (c *Cluster) size(all, few int) int {
	if c.Load {
		return 1
	}
	if c.Small {
		return few
	}
	return all
}

// storages is how many MinIOs there are.
func (c *Cluster) storages() int {
	if c.OneMinIO {
		return 1
	}
	return c.size(minios, fewMinios)
}

// Config says what the cluster is made of.
type Config struct {
	// Dir is an empty folder for data, logs and settings.
	Dir string
	// World is Processes or Namespaces.
	World string
	// Bucketseal, MinIO and MC are programs. HAProxy may be "": then a balancer of links takes its place.
	Bucketseal, MinIO, MC, HAProxy string
	// DriveMiB is the size of each MinIO's drive, where drives have one.
	DriveMiB int
	// Seed is of what is drawn on links and in the store.
	Seed uint64
	// Bare has MinIO alone, with a static KMS key of its own: what it does without a proxy.
	Bare bool
	// Small has one MinIO, two proxies and one key server: enough where nothing is cut, and quickly started. Its
	// proxies read little whole before they send it on.
	Small bool
	// OneMinIO has one MinIO with four drives in place of four with one each: no node of it can miss what others took.
	OneMinIO bool
	// Load has one MinIO, one proxy with the product's own settings but for those of Room, and one key server.
	Load bool
	// Room is YAML's limits of that proxy, as in "idle: 2h, max_connections: 20000"; "" for its own.
	Room string
	// Clocked says that the clock of Bucketseal can be set (package clock).
	Clocked bool
	// MinIOClocked says that of MinIO's.
	MinIOClocked bool
	// Upgrade is another binary of the product, that proxies are upgraded from and to; "" for none.
	Upgrade string
	Logf    func(string, ...any)
}

// Way is a way in for clients.
type Way struct{ Name, URL, AccessKey, SecretKey, Region string }

// Cluster is a running cluster.
type Cluster struct {
	Config
	MinIOs, Proxies, KeyServers []*Server
	// Balancer is nil where links take its place.
	Balancer *Server
	Store    *secretstore.Server
	// Links by name, such as proxy-1>minio-2, proxy-1>kms-2, kms-1>store, balancer>proxy-3.
	Links map[string]*link.Link
	// Keys are the KMS keys that exist.
	Keys []string

	net       network
	disks     *disks
	fronts    []*link.Front
	storage   *link.Front // to all MinIOs, for who looks at them past the proxies
	entry     string      // the balancer's address
	secrets   secrets
	stop      context.CancelFunc
	running   sync.WaitGroup
	authority *authority
}

// secrets are what no log may hold.
type secrets struct{ root, service, client, proxyKey, adminKey string }

// Start starts all servers and waits until they are ready. Close ends them, also after an error.
func Start(ctx context.Context, c Config) (*Cluster, error) {
	adoptOrphans()
	cl := &Cluster{Config: c, Links: map[string]*link.Link{}, Keys: keyNames()}
	if c.Bare {
		cl.Keys = cl.Keys[:1] // a static KMS has one
	}
	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	cl.stop = stop
	err := cl.lay()
	if err == nil && !c.Bare {
		cl.authority, err = newAuthority(filepath.Join(c.Dir, "ca.pem"))
	}
	if err == nil {
		err = cl.startStorage(ctx, live)
	}
	if err == nil && !c.Bare {
		err = cl.startKeys(ctx, live)
	}
	if err == nil && !c.Bare {
		err = cl.startProxies(ctx, live)
	}
	if err != nil {
		return nil, errors.Join(err, cl.Close())
	}
	return cl, nil
}

// adoptOrphans has the processes that take over from a server become children of this one.
func adoptOrphans() {
	const setChildSubreaper = 36
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0) // without, they are only not waited for
}

// lay makes network, drives and secrets.
func (c *Cluster) lay() error {
	var err error
	if err := os.MkdirAll(filepath.Join(c.Dir, "log"), 0o700); err != nil {
		return err
	}
	c.secrets = secrets{root: random(), service: random(), client: random()}
	c.disks = &disks{dir: filepath.Join(c.Dir, "drives"), mounts: c.World == Namespaces}
	switch c.World {
	case Processes:
		c.net, err = newProcesses()
	case Namespaces:
		c.net, err = newNamespaces()
	default:
		err = fmt.Errorf("no world is named %q: processes or namespaces", c.World)
	}
	return err
}

func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// address gives a server its HOST:PORT. Ports are free ones of this machine in every world.
func (c *Cluster) address(name string) (string, error) {
	host, err := c.net.host(name)
	if err != nil {
		return "", err
	}
	port, err := freePort()
	return net.JoinHostPort(host, strconv.Itoa(port)), err
}

// Ports lie below those of outgoing connections, which could take one before it is used.
const (
	firstPort = 10_000
	portCount = 20_000
)

var portsGiven struct {
	sync.Mutex
	next int
}

func freePort() (int, error) {
	portsGiven.Lock()
	defer portsGiven.Unlock()
	if portsGiven.next == 0 {
		portsGiven.next = os.Getpid() * 64
	}
	var err error
	for range 200 {
		portsGiven.next++
		port := firstPort + portsGiven.next%portCount
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

// server makes a server with a drive, if size is not 0, and has it supervised.
func (c *Cluster) server(live context.Context, name string, driveMiB int) (*Server, error) {
	address, err := c.address(name)
	if err != nil {
		return nil, err
	}
	s := newServer(name, address, filepath.Join(c.Dir, "log", name+".log"))
	if driveMiB > 0 {
		if s.Drive, err = c.disks.drive(name, driveMiB); err != nil {
			return nil, err
		}
	}
	c.running.Go(func() { s.supervise(live) })
	return s, nil
}

// front listens beside the networks and carries over new links from one server to others.
func (c *Cluster) front(from string, to ...*Server) (*link.Front, error) {
	var links []*link.Link
	for _, s := range to {
		l := link.New(from+">"+s.Name, s.Address, c.Seed)
		l.Secure = c.secure() && slices.Contains(c.MinIOs, s)
		c.Links[l.Name] = l
		links = append(links, l)
	}
	host, err := c.net.host("front")
	if err != nil {
		return nil, err
	}
	f, err := link.Listen(net.JoinHostPort(host, "0"), links...)
	if err == nil {
		c.fronts = append(c.fronts, f)
	}
	return f, err
}

// Servers are all of them.
func (c *Cluster) Servers() []*Server {
	all := append(append(append([]*Server(nil), c.MinIOs...), c.Proxies...), c.KeyServers...)
	if c.Balancer != nil {
		all = append(all, c.Balancer)
	}
	return all
}

// Server finds one by its name, nil if there is none.
func (c *Cluster) Server(name string) *Server {
	for _, s := range c.Servers() {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Ways are the ways in: the balancer first, then each proxy directly.
func (c *Cluster) Ways() []Way {
	way := func(name, address string) Way {
		return Way{Name: name, URL: "http://" + address, AccessKey: Client, SecretKey: c.secrets.client, Region: Region}
	}
	if c.Bare {
		return []Way{way("storage", c.storage.Address())}
	}
	if c.Load {
		return []Way{way(c.Proxies[0].Name, c.entry)}
	}
	ways := []Way{way("balancer", c.entry)}
	for _, s := range c.Proxies {
		ways = append(ways, way(s.Name, s.Address))
	}
	return ways
}

// Storage is the way to MinIO past the proxies, as its root. No fault lies on it but the servers' own.
func (c *Cluster) Storage() Way {
	return Way{Name: "storage", URL: c.toMinIO() + c.storage.Address(), AccessKey: rootUser, SecretKey: c.secrets.root, Region: Region}
}

// Secrets are what no log may hold, by what they are.
func (c *Cluster) Secrets() map[string]string {
	all := map[string]string{
		"MinIO's root password": c.secrets.root, "the proxies' password at MinIO": c.secrets.service,
		"the client's secret key": c.secrets.client, "the proxies' API key": c.secrets.proxyKey, "the admin's API key": c.secrets.adminKey,
	}
	if c.Store != nil {
		for name, value := range c.Store.Values() {
			for i, part := range keyMaterial(value) {
				all[fmt.Sprintf("key material %d of %s", i, name)] = part
			}
		}
	}
	return all
}

// CanCut tells whether servers can be cut off from each other with Drop.
func (c *Cluster) CanCut() bool { return c.net.cuts() }

// CanFill tells whether drives can be full.
func (c *Cluster) CanFill() bool { return c.disks.mounts }

// CanSlow tells whether drives can be slowed down.
func (c *Cluster) CanSlow() bool { return c.disks.slows() }

// Drop loses a share of the packets from one server to another, 1 for all, until it is called with 0.
func (c *Cluster) Drop(from, to string, share float64) error { return c.net.drop(from, to, share) }

// Fill leaves no room on a server's drive, Empty gives it back.
func (c *Cluster) Fill(s *Server) error { return c.disks.fill(s.Drive) }

// Empty is Fill's end.
func (c *Cluster) Empty(s *Server) error { return c.disks.empty(s.Drive) }

// Slow lets a server's drive do so many bytes a second; 0 heals.
func (c *Cluster) Slow(s *Server, rate int) error {
	return c.disks.slow(s.Name, s.Drive, s.PID(), rate)
}

// Heal takes every fault of links and store away. Servers are the caller's.
func (c *Cluster) Heal() {
	for _, l := range c.Links {
		l.Set(link.Fault{})
	}
	if c.Store != nil {
		c.Store.Set(secretstore.Healthy)
	}
}

// WaitReady waits until every server says that it is ready.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for _, s := range c.Servers() {
		if err := s.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all servers in order and removes networks and drives. The folder stays.
func (c *Cluster) Close() error {
	for _, group := range [][]*Server{{c.Balancer}, c.Proxies, c.KeyServers, c.MinIOs} {
		var all sync.WaitGroup
		for _, s := range group {
			if s != nil {
				all.Go(func() { s.Terminate(15 * time.Second) })
			}
		}
		all.Wait()
	}
	c.stop()
	c.running.Wait()
	for _, f := range c.fronts {
		f.Close()
	}
	if c.Store != nil {
		c.Store.Close()
	}
	var err error
	if c.disks != nil {
		err = c.disks.close()
	}
	if c.net != nil {
		err = errors.Join(err, c.net.close())
	}
	return err
}

// Best is the world that gives most here.
func Best() string {
	if os.Geteuid() != 0 {
		return Processes
	}
	n, err := newNamespaces()
	if err != nil || n.close() != nil {
		return Processes
	}
	return Namespaces
}

// Sketch is a cluster of names only, that permits every fault: plans are made of it.
func Sketch() *Cluster {
	c := &Cluster{
		Config: Config{Clocked: true, MinIOClocked: true, Upgrade: "other"}, Links: map[string]*link.Link{}, net: &namespaces{},
		disks: &disks{mounts: true}, Keys: keyNames(),
	}
	for i := range minios {
		c.MinIOs = append(c.MinIOs, newServer(fmt.Sprintf("minio-%d", i+1), "", ""))
	}
	for i := range proxies {
		c.Proxies = append(c.Proxies, newServer(fmt.Sprintf("proxy-%d", i+1), "", ""))
	}
	for i := range keyServers {
		c.KeyServers = append(c.KeyServers, newServer(fmt.Sprintf("kms-%d", i+1), "", ""))
	}
	return c
}

func keyNames() []string { return []string{"bucketseal-default", "chaos-a", "chaos-b"} }

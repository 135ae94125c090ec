package serve

import (
	"net"
	"net/netip"
	"testing"

	"github.com/bucketseal/bucketseal/operator/forwarded"
)

// knocks is a listener at which connections come from the addresses that are sent to it.
type knocks struct {
	net.Listener
	from chan string
}

type knock struct {
	net.Conn
	from   string
	closed bool
}

func (k *knock) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(k.from))
}

func (k *knock) Close() error { k.closed = true; return nil }

func (k knocks) Accept() (net.Conn, error) {
	from, ok := <-k.from
	if !ok {
		return nil, net.ErrClosed
	}
	return &knock{from: from}, nil
}

// What connects beside S3 has so many connections, and an address has some of them; one that ends
// makes room.
func TestSideDoorsAreNarrow(t *testing.T) {
	t.Parallel()
	come := knocks{from: make(chan string, 100)}
	d := newSideDoor(come, forwarded.Trust{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}})
	if d.most < 8 || d.most > sideConnections || d.perClient > d.most/2 || int64(d.most) > max(8, openFiles()/sideFiles) {
		t.Errorf("%d connections, %d of an address, and there are %d files", d.most, d.perClient, openFiles())
	}
	d.most, d.perClient = 6, 2
	for _, from := range []string{
		"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", // the third is too much
		"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", // so it is of a /64
		"192.0.2.9:1", "192.0.2.9:2", "192.0.2.9:3", // a proxy may have what there is
	} {
		come.from <- from
	}
	close(come.from)
	var in []net.Conn
	for {
		c, err := d.Accept()
		if err != nil {
			break
		}
		in = append(in, c)
	}
	if len(in) != 6 || d.open != 6 || d.held[netip.MustParseAddr("192.0.2.9")] != 2 {
		t.Errorf("%d connections, %+v", len(in), d.held)
	}
	for _, c := range in {
		for range 2 { // only the first one counts
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if d.open != 0 || len(d.held) != 0 {
		t.Errorf("after all are closed: %d, %+v", d.open, d.held)
	}
}

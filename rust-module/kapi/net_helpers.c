// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust can't call by itself of the network's: macros and inline functions, as in helpers.c.
 */

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>

static char *ip4 = "192.168.28.1/24";
module_param(ip4, charp, 0444);
MODULE_PARM_DESC(ip4, "Linux's IPv4 address on mmnif and its prefix; isle X gets the one that is X + 1 higher");

static char *ip6 = "fd00:c0a8:1c::1/64";
module_param(ip6, charp, 0444);
MODULE_PARM_DESC(ip6, "Linux's IPv6 address on mmnif and its prefix; isle X gets the one that is X + 1 higher");

static bool net_interrupts;
module_param(net_interrupts, bool, 0444);
MODULE_PARM_DESC(net_interrupts, "interrupt the first CPU of an isle for packets though it computes (default: only idle CPUs)");

const char *hermit_helper_ip4_param(void);
const char *hermit_helper_ip4_param(void)
{
	return ip4;
}

const char *hermit_helper_ip6_param(void);
const char *hermit_helper_ip6_param(void)
{
	return ip6;
}

bool hermit_helper_in_softirq(void);
bool hermit_helper_in_softirq(void)
{
	return in_serving_softirq() || in_hardirq();
}

bool hermit_helper_net_interrupts_param(void);
bool hermit_helper_net_interrupts_param(void)
{
	return net_interrupts;
}

void *hermit_helper_netdev_priv(struct net_device *dev);
void *hermit_helper_netdev_priv(struct net_device *dev)
{
	return netdev_priv(dev);
}

void hermit_helper_netdev_setup(struct net_device *dev, const u8 *address);
void hermit_helper_netdev_setup(struct net_device *dev, const u8 *address)
{
	strscpy(dev->name, "mmnif", IFNAMSIZ);
	dev->name_assign_type = NET_NAME_PREDICTABLE;
	eth_hw_addr_set(dev, address);
	dev->min_mtu = ETH_MIN_MTU;
	dev->max_mtu = ETH_MAX_MTU;
	dev->mtu = ETH_MAX_MTU;
	/* The isles are told nothing of segments that belong together but TCP's over IPv4, see isle-kernel/abi/src/net.rs. */
	dev->hw_features = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HW_CSUM | NETIF_F_TSO;
	dev->features = dev->hw_features | NETIF_F_HIGHDMA;
	dev->vlan_features = 0;
}

void hermit_helper_napi_add(struct net_device *dev, struct napi_struct *napi, int (*poll)(struct napi_struct *, int));
void hermit_helper_napi_add(struct net_device *dev, struct napi_struct *napi, int (*poll)(struct napi_struct *, int))
{
	netif_napi_add(dev, napi, poll);
}

void hermit_helper_napi_del(struct napi_struct *napi);
void hermit_helper_napi_del(struct napi_struct *napi)
{
	netif_napi_del(napi);
}

void hermit_helper_napi_schedule(struct napi_struct *napi);
void hermit_helper_napi_schedule(struct napi_struct *napi)
{
	napi_schedule(napi);
}

void hermit_helper_local_bh_disable(void);
void hermit_helper_local_bh_disable(void)
{
	local_bh_disable();
}

void hermit_helper_local_bh_enable(void);
void hermit_helper_local_bh_enable(void)
{
	local_bh_enable();
}

void hermit_helper_stop_subqueue(struct net_device *dev, u16 queue);
void hermit_helper_stop_subqueue(struct net_device *dev, u16 queue)
{
	netif_stop_subqueue(dev, queue);
}

void hermit_helper_wake_subqueue(struct net_device *dev, u16 queue);
void hermit_helper_wake_subqueue(struct net_device *dev, u16 queue)
{
	if (__netif_subqueue_stopped(dev, queue))
		netif_wake_subqueue(dev, queue);
}

void hermit_helper_start_all_queues(struct net_device *dev);
void hermit_helper_start_all_queues(struct net_device *dev)
{
	netif_tx_start_all_queues(dev);
}

void hermit_helper_stop_all_queues(struct net_device *dev);
void hermit_helper_stop_all_queues(struct net_device *dev)
{
	netif_tx_stop_all_queues(dev);
}

unsigned int hermit_helper_skb_len(const struct sk_buff *skb);
unsigned int hermit_helper_skb_len(const struct sk_buff *skb)
{
	return skb->len;
}

u16 hermit_helper_skb_queue(const struct sk_buff *skb);
u16 hermit_helper_skb_queue(const struct sk_buff *skb)
{
	return skb_get_queue_mapping(skb);
}

void hermit_helper_skb_timestamp(struct sk_buff *skb);
void hermit_helper_skb_timestamp(struct sk_buff *skb)
{
	skb_tx_timestamp(skb);
}

void hermit_helper_consume_skb(struct sk_buff *skb);
void hermit_helper_consume_skb(struct sk_buff *skb)
{
	dev_consume_skb_any(skb);
}

void hermit_helper_free_skb(struct sk_buff *skb);
void hermit_helper_free_skb(struct sk_buff *skb)
{
	dev_kfree_skb_any(skb);
}

/* Bytes of a long packet that are not in pages of their own: room for all headers. */
#define HEAD 256

/* A packet of this length, to be filled; NULL without memory. */
struct sk_buff *hermit_helper_build_skb(struct napi_struct *napi, unsigned int len);
struct sk_buff *hermit_helper_build_skb(struct napi_struct *napi, unsigned int len)
{
	struct sk_buff *skb;
	int err;

	if (len <= 2 * PAGE_SIZE / 3) {
		skb = napi_alloc_skb(napi, len);
		if (skb)
			skb_put(skb, len);
		return skb;
	}
	skb = alloc_skb_with_frags(NET_SKB_PAD + NET_IP_ALIGN + HEAD, len - HEAD, PAGE_ALLOC_COSTLY_ORDER, &err,
				   GFP_ATOMIC | __GFP_NOWARN);
	if (!skb)
		return NULL;
	skb_reserve(skb, NET_SKB_PAD + NET_IP_ALIGN);
	skb_put(skb, HEAD);
	skb->data_len = len - HEAD;
	skb->len += len - HEAD;
	skb->dev = napi->dev;
	return skb;
}

/* Calls a function for each contiguous part of a packet, in their order. */
void hermit_helper_skb_parts(struct sk_buff *skb, void (*each)(void *context, u8 *data, size_t len), void *context);
void hermit_helper_skb_parts(struct sk_buff *skb, void (*each)(void *context, u8 *data, size_t len), void *context)
{
	struct skb_seq_state state;
	unsigned int done = 0, len;
	const u8 *data;

	skb_prepare_seq_read(skb, 0, skb->len, &state);
	/* Ends by itself behind the last part. */
	while ((len = skb_seq_read(done, &data, &state))) {
		each(context, (u8 *)data, len);
		done += len;
	}
}

/* Hands over a packet of an isle's, whose checksums of TCP and UDP are for whoever sends it further to compute. */
void hermit_helper_receive_skb(struct napi_struct *napi, struct sk_buff *skb, u16 queue);
void hermit_helper_receive_skb(struct napi_struct *napi, struct sk_buff *skb, u16 queue)
{
	skb->protocol = eth_type_trans(skb, napi->dev);
	skb_reset_network_header(skb);
	skb_record_rx_queue(skb, queue);
	/* What is neither TCP nor UDP has its checksum; what makes no sense is looked at, and thrown away, above. */
	skb_checksum_setup(skb, true);
	napi_gro_receive(napi, skb);
}

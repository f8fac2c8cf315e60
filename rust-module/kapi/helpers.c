// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust can't call by itself: macros and inline functions of the kernel.
 * Each has the name of what it wraps, behind hermit_helper_.
 */

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irq_work.h>
#include <linux/irqdomain.h>
#include <linux/kthread.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/pfn_t.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/suspend.h>
#include <linux/sysfs.h>
#include <linux/timekeeper_internal.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <asm/apic.h>
#include <asm/hw_irq.h>

static char *memory;
module_param(memory, charp, 0444);
MODULE_PARM_DESC(memory, "memory that an isle asks for, such as 512M (default: half of its node's)");

static bool follow = true;
module_param(follow, bool, 0444);
MODULE_PARM_DESC(follow, "the interrupts of an isle follow its proxy and the programs that send to it (default), or stay where smp_affinity puts them");

const char *hermit_helper_memory_param(void);
const char *hermit_helper_memory_param(void)
{
	return memory;
}

u32 hermit_helper_this_cpu(void);
u32 hermit_helper_this_cpu(void)
{
	return raw_smp_processor_id();
}

void hermit_helper_icr_write(u32 low, u32 apicid);
void hermit_helper_icr_write(u32 low, u32 apicid)
{
	preempt_disable();
	/* What the interrupt is about was written before: an MSR's write may overtake it. */
	weak_wrmsr_fence();
	if (apic->safe_wait_icr_idle)
		apic->safe_wait_icr_idle();
	apic->icr_write(low, apicid);
	if (apic->safe_wait_icr_idle)
		apic->safe_wait_icr_idle();
	preempt_enable();
}

bool hermit_helper_apic_is_overridden(void);
bool hermit_helper_apic_is_overridden(void)
{
	return apic->wakeup_secondary_cpu || apic->wakeup_secondary_cpu_64;
}

bool hermit_helper_cpu_possible(unsigned int cpu);
bool hermit_helper_cpu_possible(unsigned int cpu)
{
	return cpu < nr_cpu_ids && cpu_possible(cpu);
}

bool hermit_helper_cpu_online(unsigned int cpu);
bool hermit_helper_cpu_online(unsigned int cpu)
{
	return cpu < nr_cpu_ids && cpu_online(cpu);
}

bool hermit_helper_node_has_memory(int node);
bool hermit_helper_node_has_memory(int node)
{
	return node_state(node, N_MEMORY);
}

int hermit_helper_max_node(void);
int hermit_helper_max_node(void)
{
	return MAX_NUMNODES;
}

void hermit_helper_node_span(int node, unsigned long *start, unsigned long *spanned,
			     unsigned long *present);
void hermit_helper_node_span(int node, unsigned long *start, unsigned long *spanned,
			     unsigned long *present)
{
	pg_data_t *pgdat = NODE_DATA(node);

	*start = pgdat->node_start_pfn;
	*spanned = pgdat->node_spanned_pages;
	*present = pgdat->node_present_pages;
}

/* Is the page online on this node, and where: 1 in ZONE_MOVABLE, 0 in a kernel zone, -1 not. */
int hermit_helper_page_zone(unsigned long pfn, int node);
int hermit_helper_page_zone(unsigned long pfn, int node)
{
	struct page *page = pfn_to_online_page(pfn);

	if (!page || page_to_nid(page) != node)
		return -1;
	return page_zonenum(page) == ZONE_MOVABLE;
}

/*
 * Does an online range hold pages that offlining it would fail at? Much as has_unmovable_pages() sees it: reserved
 * pages anywhere, and in kernel zones also what is neither free nor on an LRU list.
 */
bool hermit_helper_has_unmovable_page(unsigned long pfn, unsigned long count);
bool hermit_helper_has_unmovable_page(unsigned long pfn, unsigned long count)
{
	for (unsigned long end = pfn + count; pfn < end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		if (!page || PageReserved(page))
			return true;
		if (page_zonenum(page) != ZONE_MOVABLE && page_count(page) && !PageLRU(page) &&
		    !__PageMovable(page))
			return true;
		if (!(pfn % 1024))
			cond_resched();
	}
	return false;
}

void hermit_helper_init_completion(struct completion *done);
void hermit_helper_init_completion(struct completion *done)
{
	init_completion(done);
}

void hermit_helper_allow_signal(int sig);
void hermit_helper_allow_signal(int sig)
{
	allow_signal(sig);
}

void hermit_helper_sysfs_attr_init(struct attribute *attr);
void hermit_helper_sysfs_attr_init(struct attribute *attr)
{
	sysfs_attr_init(attr);
}

void hermit_helper_init_waitqueue_head(struct wait_queue_head *wq);
void hermit_helper_init_waitqueue_head(struct wait_queue_head *wq)
{
	init_waitqueue_head(wq);
}

void hermit_helper_poll_wait(struct file *file, struct wait_queue_head *wq, poll_table *table);
void hermit_helper_poll_wait(struct file *file, struct wait_queue_head *wq, poll_table *table)
{
	poll_wait(file, wq, table);
}

void hermit_helper_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear);
void hermit_helper_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
	vm_flags_mod(vma, set, clear);
}

/* In a shared mapping, which is as writable as its area's vm_page_prot says. */
vm_fault_t hermit_helper_insert_pfn_pmd(struct vm_fault *vmf, unsigned long pfn);
vm_fault_t hermit_helper_insert_pfn_pmd(struct vm_fault *vmf, unsigned long pfn)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	return vmf_insert_pfn_pmd(vmf, pfn_to_pfn_t(pfn), vmf->flags & FAULT_FLAG_WRITE);
#else
	return VM_FAULT_FALLBACK;
#endif
}

int hermit_helper_irq_domain_alloc_irq(struct irq_domain *domain);
int hermit_helper_irq_domain_alloc_irq(struct irq_domain *domain)
{
	/* Like init_irq_alloc_info(), which is not exported. */
	struct irq_alloc_info info = {};

	return irq_domain_alloc_irqs(domain, 1, NUMA_NO_NODE, &info);
}

struct fwnode_handle *hermit_helper_irq_domain_alloc_fwnode(const char *name);
struct fwnode_handle *hermit_helper_irq_domain_alloc_fwnode(const char *name)
{
	return irq_domain_alloc_named_fwnode(name);
}

/* Moves an interrupt, unless all are to stay where they are. May be called by its handler. */
void hermit_helper_irq_move(u32 irq, u32 cpu);
void hermit_helper_irq_move(u32 irq, u32 cpu)
{
	if (follow && cpu < nr_cpu_ids && cpu_online(cpu))
		irq_set_affinity(irq, cpumask_of(cpu));
}

/* Where the interrupt goes now. */
bool hermit_helper_irq_target(struct irq_data *data, u32 *apicid, u32 *vector);
bool hermit_helper_irq_target(struct irq_data *data, u32 *apicid, u32 *vector)
{
	struct irq_cfg *cfg = irqd_cfg(data);
	unsigned int cpu = cpumask_first(irq_data_get_effective_affinity_mask(data));

	if (!cfg || cpu >= nr_cpu_ids)
		return false;
	*apicid = default_cpu_present_to_apicid(cpu);
	*vector = cfg->vector;
	return true;
}

int hermit_helper_register_pm_notifier(struct notifier_block *block);
int hermit_helper_register_pm_notifier(struct notifier_block *block)
{
	return register_pm_notifier(block);
}

int hermit_helper_unregister_pm_notifier(struct notifier_block *block);
int hermit_helper_unregister_pm_notifier(struct notifier_block *block)
{
	return unregister_pm_notifier(block);
}

unsigned long hermit_helper_local_irq_save(void);
unsigned long hermit_helper_local_irq_save(void)
{
	unsigned long flags;

	local_irq_save(flags);
	return flags;
}

void hermit_helper_local_irq_restore(unsigned long flags);
void hermit_helper_local_irq_restore(unsigned long flags)
{
	local_irq_restore(flags);
}

/* The work is on the heap, and its lock class is that of this place. */
void hermit_helper_init_delayed_work(struct delayed_work *work, work_func_t func);
void hermit_helper_init_delayed_work(struct delayed_work *work, work_func_t func)
{
	INIT_DELAYED_WORK(work, func);
}

/* Rust knows only how large the structure may be. */
void hermit_helper_init_irq_work(struct irq_work *work, void (*func)(struct irq_work *));
void hermit_helper_init_irq_work(struct irq_work *work, void (*func)(struct irq_work *))
{
	BUILD_BUG_ON(sizeof(*work) > 64 || __alignof__(*work) > 8);
	init_irq_work(work, func);
}

/* How fast the clock goes, compared to its clocksource's nominal rate: 2^31 is 1. */
u32 hermit_helper_timekeeper_pace(const struct timekeeper *tk);
u32 hermit_helper_timekeeper_pace(const struct timekeeper *tk)
{
	u64 pace = (u64)tk->tkr_mono.mult << 31;

	return tk->tkr_raw.mult ? div_u64(pace, tk->tkr_raw.mult) : 0;
}
